// Package telemetry makes what Edge knows about itself visible: logs by log/slog, metrics for Prometheus.
//
// It is the only package that knows Prometheus. Features expose Stats(), a plain struct; the collector here turns it
// into metrics when somebody asks, so nothing is counted twice and the request path pays for one atomic at most.
package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// LogConfig says what is logged, and how.
type LogConfig struct {
	// Level is the least severe level that is logged: debug, info, warn or error. Default info.
	Level string `koanf:"level"`

	// Format is console, json, roadrunner (JSON with RoadRunner's fields: ts, level, logger, msg), or auto: console when standard
	// error is a terminal, else json. Default auto.
	Format string `koanf:"format"`

	// Output is stderr, stdout, or a file. Default stderr.
	Output string `koanf:"output"`

	// Rotate says when a file gives way to a new one.
	Rotate Rotate `koanf:"rotate"`

	// Sample thins out records that come again and again.
	Sample Sample `koanf:"sample"`

	// Channels are levels of parts of the server, by name: server (PHP workers), http (requests too), rpc, service, app (what PHP logs
	// by RPC), status, otel. With any here, records have the field logger. Default none.
	Channels map[string]Channel `koanf:"channels"`
}

// DefaultLogConfig is what an absent log section means.
func DefaultLogConfig() LogConfig {
	return LogConfig{Level: "info", Format: "auto", Output: "stderr", Rotate: DefaultRotate(), Sample: Sample{Every: 100}}
}

// Validate checks the names.
func (c LogConfig) Validate() error {
	if _, ok := levels[c.Level]; !ok {
		return fmt.Errorf("level: %q is not a level: write debug, info, warn or error", c.Level)
	}
	if !slices.Contains([]string{"auto", "console", "json", "roadrunner"}, c.Format) {
		return fmt.Errorf("format: %q is not a format: write auto, console, json or roadrunner", c.Format)
	}
	var errs []error
	if c.Output == "" {
		errs = append(errs, errors.New("output: must be stderr, stdout or a file"))
	}
	if err := c.Rotate.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("rotate.%w", err))
	}
	if c.Sample.First < 0 || c.Sample.Every < 0 {
		errs = append(errs, errors.New("sample: numbers must not be negative"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Channels)) {
		if _, ok := levels[c.Channels[name].Level]; !ok {
			errs = append(errs, fmt.Errorf("channels.%s.level: %q is not a level: write debug, info, warn or error", name, c.Channels[name].Level))
		}
	}
	return errors.Join(errs...)
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// NewLogger writes to w. The returned LevelVar changes the level while the server runs.
func NewLogger(c LogConfig, w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(levels[c.Level])
	h := &channelHandler{level: level, root: level, channels: map[string]slog.Level{}, sampler: newSampler(c.Sample)}
	for name, channel := range c.Channels {
		h.channels[name] = levels[channel.Level]
	}
	h.next = newHandler(c, w)
	return slog.New(h), level
}

// allLevels is for handlers whose records another has chosen.
const allLevels = slog.LevelDebug - 1000

func newHandler(c LogConfig, w io.Writer) slog.Handler {
	if c.Format == "console" || c.Format == "auto" && isTerminal(w) {
		return tint.NewHandler(w, &tint.Options{
			Level: allLevels, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w) || os.Getenv("NO_COLOR") != "",
		})
	}
	if c.Format == "roadrunner" {
		return newRoadRunnerHandler(w, allLevels)
	}
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: allLevels, ReplaceAttr: seconds})
}

// seconds writes durations as a number of seconds; slog would write nanoseconds.
func seconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

// SlogLevel returns the slog level of a valid LogConfig.
func (c LogConfig) SlogLevel() slog.Level { return levels[c.Level] }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Open returns where the configuration says that logs go, and what closes it. standard is standard error, or what stands for it.
func (c LogConfig) Open(standard io.Writer) (io.Writer, func() error, error) {
	switch c.Output {
	case "", "stderr":
		return standard, func() error { return nil }, nil
	case "stdout":
		return os.Stdout, func() error { return nil }, nil
	}
	f, err := OpenFile(c.Output, c.Rotate)
	if err != nil {
		return nil, nil, fmt.Errorf("output: %w", err)
	}
	return f, f.Close, nil
}
