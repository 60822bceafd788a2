// Package telemetry makes what Edge knows about itself visible: logs by log/slog, metrics for Prometheus.
//
// It is the only package that knows Prometheus. Features expose Stats(), a plain struct; the collector here turns it
// into metrics when somebody asks, so nothing is counted twice and the request path pays for one atomic at most.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
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
}

// DefaultLogConfig is what an absent log section means.
func DefaultLogConfig() LogConfig { return LogConfig{Level: "info", Format: "auto"} }

// Validate checks the names.
func (c LogConfig) Validate() error {
	if _, ok := levels[c.Level]; !ok {
		return fmt.Errorf("level: %q is not a level: write debug, info, warn or error", c.Level)
	}
	if !slices.Contains([]string{"auto", "console", "json", "roadrunner"}, c.Format) {
		return fmt.Errorf("format: %q is not a format: write auto, console, json or roadrunner", c.Format)
	}
	return nil
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
	if c.Format == "console" || c.Format == "auto" && isTerminal(w) {
		return slog.New(tint.NewHandler(w, &tint.Options{
			Level: level, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w) || os.Getenv("NO_COLOR") != "",
		})), level
	}
	if c.Format == "roadrunner" {
		return slog.New(newRoadRunnerHandler(w, level)), level
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: seconds})), level
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
