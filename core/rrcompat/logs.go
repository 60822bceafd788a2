package rrcompat

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Logs is RoadRunner's logs section. Its zero value is what RoadRunner does without one.
type Logs struct {
	Mode       string   // development, production, raw, none
	Level      string   // debug, info, warn, error
	Encoding   string   // console, json, or "" for that of the mode
	LineEnding string   // "" is a line feed
	Output     []string // stdout, stderr, files
	File       string   // file_logger_options: everything goes here, as JSON
	Rotate     Rotation // of File

	Channels map[string]Logs // by logger: server, http, …
}

// Rotation is the rest of file_logger_options. 0 is no limit, but for MaxSize.
type Rotation struct {
	MaxSize  int // MiB
	MaxAge   int // days
	Backups  int
	Compress bool
}

// defaultMaxSize is where RoadRunner rotates when nothing is said.
const defaultMaxSize = 100

// log reads the logs section, and writes what Edge's own log has of it.
func (t *translation) log(logs part) {
	t.result.Logs = t.channel(logs, Logs{Mode: "development", Level: "debug"})
	channels := logs.section("channels")
	if channels.present() {
		t.result.Logs.Channels = map[string]Logs{}
		for _, e := range channels.v.entries {
			t.result.Logs.Channels[strings.ToLower(e.name)] = t.channel(channels.section(e.name), Logs{Mode: "development", Level: "debug"})
		}
	}

	l := t.result.Logs
	out := t.out.section("log")
	out.set("level", l.Level)
	if l.Mode == "production" && l.Encoding != "console" || l.Encoding == "json" {
		out.set("format", "roadrunner")
	}
	if !t.o.KeepVariables {
		return // the server that runs has RoadRunner's log as a whole
	}
	for _, name := range slices.Sorted(maps.Keys(l.Channels)) {
		c := l.Channels[name]
		level := c.Level
		if c.Mode == "none" {
			level = "error"
		}
		if level != l.Level {
			out.section("channels").section(name).set("level", level)
		}
		if c.Mode == "raw" || c.Mode == "none" || c.File != "" || len(c.Output) > 0 {
			t.warn("logs.channels."+name, "a channel of Edge's own log has a level of its own, and no form or output: `edge rr serve` has all of it")
		}
	}
	switch {
	case l.File != "":
		out.set("output", l.File)
		l.Rotate.write(out.section("rotate"))
	case len(l.Output) > 0 && l.Output[0] != "stderr":
		out.set("output", l.Output[0])
		if len(l.Output) > 1 {
			t.warn("logs.output", "Edge's own log has one output, %s", l.Output[0])
		}
	}
}

// channel reads one set of keys over base.
func (t *translation) channel(p part, base Logs) Logs {
	l := base
	if mode := strings.ToLower(p.text("mode")); mode != "" {
		switch mode {
		case "development", "production", "raw", "none":
			l.Mode = mode
		case "off":
			l.Mode = "none"
		default:
			t.refuse(p.entry("mode"), p.path("mode"), "%q is not development, production, raw, none or off", mode)
		}
	}
	switch level := strings.ToLower(p.text("level")); level {
	case "":
	case "debug", "info", "warn", "error":
		l.Level = level
	case "warning":
		l.Level = "warn"
	case "panic", "dpanic", "fatal":
		l.Level = "error"
	default:
		t.refuse(p.entry("level"), p.path("level"), "%q is not debug, info, warn, error or panic", level)
	}
	switch encoding := strings.ToLower(p.text("encoding")); encoding {
	case "":
	case "console", "json":
		l.Encoding = encoding
	default:
		t.refuse(p.entry("encoding"), p.path("encoding"), "%q is not console or json", encoding)
	}
	l.LineEnding = p.text("line_ending")
	l.Output = p.texts("output")
	p.known("err_output") // where RoadRunner's logger complains about itself
	if file := p.section("file_logger_options"); file.present() {
		if l.File = file.text("log_output"); l.File == "" {
			t.refuse(nil, file.path("log_output"), "is missing: name the file")
		}
		l.Rotate = Rotation{
			MaxSize: file.integer("max_size", defaultMaxSize), MaxAge: file.integer("max_age", 0), Backups: file.integer("max_backups", 0),
			Compress: file.boolean("compress", false),
		}
		if l.Rotate.MaxSize == 0 {
			l.Rotate.MaxSize = defaultMaxSize
		}
	}
	return l
}

func (r Rotation) write(out document) {
	out.set("max_size", strconv.Itoa(r.MaxSize)+"MiB")
	out.set("max_age", time.Duration(r.MaxAge)*24*time.Hour)
	out.set("backups", r.Backups)
	out.set("compress", r.Compress)
}
