package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// RoadRunnerLog is a log as RoadRunner writes it: tools read its lines. Each part of the server has a logger with a name
// (server for the workers, http for requests), and each name may have a channel of its own.
type RoadRunnerLog struct {
	Mode       string   // development, production, raw or none
	Level      string   // debug, info, warn or error
	Encoding   string   // console, json, or "" for that of the mode
	LineEnding string   // "" is a line feed
	Output     []string // stdout, stderr, files; none is stderr
	File       string   // a file that takes everything, as JSON
	Rotate     Rotate   // of File

	Channels map[string]RoadRunnerLog
}

// Streams are where a RoadRunnerLog writes.
type Streams struct {
	Stdout, Stderr io.Writer
	Dir            string // where relative files are
}

// LoggerKey is the attribute that names a logger: log.With(LoggerKey, "http").
const LoggerKey = "logger"

// defaultName is the logger of records that name none.
const defaultName = "edge"

// NewRoadRunnerLogger opens the outputs. The returned function closes the files.
func NewRoadRunnerLogger(c RoadRunnerLog, s Streams) (*slog.Logger, func() error, error) {
	o := outputs{streams: s, files: map[string]io.Closer{}}
	root, err := o.sink(c)
	if err != nil {
		return nil, nil, errors.Join(err, o.close())
	}
	h := &roadRunnerHandler{root: root, sink: root, channels: map[string]*sink{}}
	for name, channel := range c.Channels {
		if h.channels[name], err = o.sink(channel); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("channel %s: %w", name, err), o.close())
		}
	}
	return slog.New(h), o.close, nil
}

// newRoadRunnerHandler is the handler of `log: {format: roadrunner}`: RoadRunner's production mode.
func newRoadRunnerHandler(w io.Writer, level slog.Leveler) slog.Handler {
	s := &sink{w: []io.Writer{&lockedWriter{w: w}}, level: level, json: true, end: "\n"}
	return &roadRunnerHandler{root: s, sink: s}
}

// outputs are the files of a log, each of which is opened once.
type outputs struct {
	streams Streams
	files   map[string]io.Closer
	writers map[string]io.Writer
}

func (o *outputs) sink(c RoadRunnerLog) (*sink, error) {
	s := &sink{level: levels[c.Level], end: c.LineEnding, none: c.Mode == "none", raw: c.Mode == "raw"}
	if s.end == "" {
		s.end = "\n"
	}
	s.json = c.Encoding == "json" || c.Encoding == "" && c.Mode == "production"
	names := c.Output
	if c.File != "" {
		names, s.json, s.raw = []string{c.File}, true, false
	}
	if len(names) == 0 {
		names = []string{"stderr"}
	}
	for _, name := range names {
		w, err := o.writer(name, c.Rotate)
		if err != nil {
			return nil, err
		}
		s.w = append(s.w, w)
		s.color = !s.json && len(names) == 1 && o.isTerminal(name) && os.Getenv("NO_COLOR") == ""
	}
	return s, nil
}

func (o *outputs) isTerminal(name string) bool {
	return name == "stdout" && isTerminal(o.streams.Stdout) || name == "stderr" && isTerminal(o.streams.Stderr)
}

// writer returns the output of that name; all sinks share one, so that lines stay whole.
func (o *outputs) writer(name string, rule Rotate) (io.Writer, error) {
	if w, ok := o.writers[name]; ok {
		return w, nil
	}
	var w io.Writer
	switch name {
	case "stdout":
		w = o.streams.Stdout
	case "stderr":
		w = o.streams.Stderr
	default:
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(o.streams.Dir, path)
		}
		f, err := OpenFile(path, rule)
		if err != nil {
			return nil, err
		}
		o.files[name], w = f, f
	}
	if o.writers == nil {
		o.writers = map[string]io.Writer{}
	}
	o.writers[name] = &lockedWriter{w: w}
	return o.writers[name], nil
}

func (o *outputs) close() error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// lockedWriter writes one line at a time.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// sink is how a channel writes, and where.
type sink struct {
	w     []io.Writer
	level slog.Leveler
	json  bool
	raw   bool // the message and nothing else
	none  bool
	color bool
	end   string
}

// roadRunnerHandler writes records in RoadRunner's forms.
type roadRunnerHandler struct {
	root     *sink
	channels map[string]*sink

	sink  *sink // that of name
	name  string
	attrs []slog.Attr
	group string // before the keys of further attributes
}

var _ slog.Handler = (*roadRunnerHandler)(nil)

// Enabled asks the channel.
func (h *roadRunnerHandler) Enabled(_ context.Context, level slog.Level) bool {
	return !h.sink.none && level >= h.sink.level.Level()
}

// WithAttrs names the logger, or adds fields.
func (h *roadRunnerHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = next.attrs[:len(next.attrs):len(next.attrs)]
	for _, a := range attrs {
		if a.Key == LoggerKey && h.group == "" {
			next.name = a.Value.String()
			next.sink = h.root
			if channel, ok := h.channels[next.name]; ok {
				next.sink = channel
			}
			continue
		}
		a.Key = h.group + a.Key
		next.attrs = append(next.attrs, a)
	}
	return &next
}

// WithGroup puts a name before the keys that follow.
func (h *roadRunnerHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.group += name + "."
	return &next
}

// bufferPool holds the lines while they are made.
var bufferPool = sync.Pool{New: func() any { return new(make([]byte, 0, 1024)) }}

// workerEvents are the records of PHP pools that RoadRunner has, too, with its texts and the names of its events: people alert on
// them, and Octane keeps quiet about the text of the first.
var workerEvents = map[string]struct{ text, event string }{
	"php worker is ready":                  {"worker is allocated", "EventWorkerConstruct"},
	"php worker died with a request in it": {"RoadRunner can't communicate with the worker", "EventWorkerError"},
	"idle php worker died":                 {"worker stopped", "EventWorkerWaitExit"},
	"php worker ended by itself":           {"worker stopped", "EventWorkerWaitExit"},
	"php worker is gone":                   {"worker destroyed", "EventWorkerDestruct"},
	applicationError:                       {"soft worker error", "EventWorkerSoftError"},
	"no php worker was free for requests":  {"no free workers in the pool, wait timeout exceed", "EventNoFreeWorkers"},

	"php worker took longer than exec_timeout and was killed": {"worker stopped, and will be restarted", "EventExecTTL"},
	"php worker is beyond max_memory and is to be replaced":   {"worker will be restarted", "EventMaxMemory"},
	"php worker reached its ttl and is to be replaced":        {"worker will be restarted", "EventTTL"},
	"php worker was idle for long":                            {"worker will be restarted", "EventIdleTTL"},
	"php worker served max_jobs and is to be replaced":        {"worker will be restarted", "EventMaxJobs"},
}

// applicationError is the record of what a worker threw.
const applicationError = "php application error"

// serverLogger is the name under which RoadRunner logs what is about workers.
const serverLogger = "server"

// Handle writes one line with one call.
func (h *roadRunnerHandler) Handle(_ context.Context, r slog.Record) error {
	if e, ok := workerEvents[r.Message]; ok && h.name == serverLogger {
		r = r.Clone()
		r.Message = e.text
		r.AddAttrs(slog.String("internal_event_name", e.event))
	}
	buf := bufferPool.Get().(*[]byte)
	b := (*buf)[:0]
	switch {
	case h.sink.raw:
		b = appendRaw(b, r)
	case h.sink.json:
		b = h.appendJSON(b, r)
	default:
		b = h.appendConsole(b, r)
	}
	b = append(b, h.sink.end...)
	var err error
	for _, w := range h.sink.w {
		if _, e := w.Write(b); err == nil {
			err = e
		}
	}
	if cap(b) <= 64<<10 {
		*buf = b
		bufferPool.Put(buf)
	}
	return err
}

// appendRaw appends the message. What a worker threw is one in RoadRunner, where Edge has it beside its own words.
func appendRaw(b []byte, r slog.Record) []byte {
	b = append(b, r.Message...)
	if r.Message != workerEvents[applicationError].text {
		return b
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "error" {
			return true
		}
		b = append(append(b, ": "...), a.Value.String()...)
		return false
	})
	return b
}

func (h *roadRunnerHandler) loggerName() string {
	if h.name == "" {
		return defaultName
	}
	return h.name
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// appendJSON: {"level":"info","ts":1781694000000000000,"logger":"http","msg":"http log","status":200,…}
func (h *roadRunnerHandler) appendJSON(b []byte, r slog.Record) []byte {
	b = append(b, `{"level":"`...)
	b = append(b, levelName(r.Level)...)
	b = append(b, `","ts":`...)
	b = strconv.AppendInt(b, r.Time.UnixNano(), 10)
	b = append(b, `,"logger":`...)
	b = appendQuoted(b, h.loggerName())
	b = append(b, `,"msg":`...)
	b = appendQuoted(b, r.Message)
	b = h.appendFields(b, r, ',', true)
	return append(b, '}')
}

// timeLayout is RoadRunner's in development.
const timeLayout = "2006-01-02T15:04:05-0700"

// appendConsole: 2026-06-17T11:00:00+0000<tab>INFO<tab>http<tab>http log<tab>{"status": 200,…}
func (h *roadRunnerHandler) appendConsole(b []byte, r slog.Record) []byte {
	b = r.Time.UTC().AppendFormat(b, timeLayout)
	b = append(b, '\t')
	b = h.colored(b, levelColor(r.Level), strings.ToUpper(levelName(r.Level)))
	b = append(b, '\t')
	b = h.colored(b, 32, h.loggerName())
	b = append(b, '\t')
	b = append(b, r.Message...)
	if len(h.attrs) == 0 && r.NumAttrs() == 0 {
		return b
	}
	b = append(b, '\t')
	b = h.appendFields(b, r, '{', false)
	return append(b, '}')
}

func levelColor(l slog.Level) int64 {
	switch {
	case l >= slog.LevelError:
		return 31
	case l >= slog.LevelWarn:
		return 33
	case l >= slog.LevelInfo:
		return 36
	}
	return 37
}

func (h *roadRunnerHandler) colored(b []byte, color int64, text string) []byte {
	if !h.sink.color {
		return append(b, text...)
	}
	b = append(b, "\x1b["...)
	b = strconv.AppendInt(b, color, 10)
	b = append(b, 'm')
	b = append(b, text...)
	return append(b, "\x1b[0m"...)
}

// appendFields writes the attributes of the logger and the record; first stands before the first of them.
func (h *roadRunnerHandler) appendFields(b []byte, r slog.Record, first byte, nanos bool) []byte {
	separator := first
	add := func(prefix string, a slog.Attr) {
		if a.Equal(slog.Attr{}) {
			return
		}
		b = append(b, separator)
		separator = ','
		b = appendQuoted(b, prefix+a.Key)
		b = append(b, ':')
		b = appendValue(b, a.Value.Resolve(), nanos)
	}
	for _, a := range h.attrs {
		add("", a)
	}
	r.Attrs(func(a slog.Attr) bool {
		add(h.group, a)
		return true
	})
	if separator == first && first == '{' {
		b = append(b, '{')
	}
	return b
}

// appendValue writes a value as JSON: times in nanoseconds since 1970 or as a text, durations in seconds.
func appendValue(b []byte, v slog.Value, nanos bool) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendQuoted(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindDuration:
		return strconv.AppendFloat(b, v.Duration().Seconds(), 'g', -1, 64)
	case slog.KindTime:
		if nanos {
			return strconv.AppendInt(b, v.Time().UnixNano(), 10)
		}
		return appendQuoted(b, v.Time().UTC().Format(time.RFC3339Nano))
	case slog.KindGroup:
		separator := byte('{')
		for _, a := range v.Group() {
			b = append(b, separator)
			separator = ','
			b = append(appendQuoted(b, a.Key), ':')
			b = appendValue(b, a.Value.Resolve(), nanos)
		}
		if separator == '{' {
			b = append(b, '{')
		}
		return append(b, '}')
	}
	if err, ok := v.Any().(error); ok {
		return appendQuoted(b, err.Error())
	}
	text, err := json.Marshal(v.Any())
	if err != nil {
		return appendQuoted(b, fmt.Sprint(v.Any()))
	}
	return append(b, text...)
}

// appendQuoted writes a JSON string. What is not UTF-8 becomes U+FFFD.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	begin := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || n > 1) {
			i += n
			continue
		}
		b = append(b, s[begin:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			if c < ' ' {
				b = fmt.Appendf(b, `\u%04x`, c)
			} else {
				b = append(b, "\ufffd"...)
			}
		}
		i += n
		begin = i
	}
	return append(append(b, s[begin:]...), '"')
}
