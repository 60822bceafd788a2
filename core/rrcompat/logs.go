package rrcompat

import (
	"strings"
)

// Logs is RoadRunner's logs section. Its zero value is what RoadRunner does without one.
type Logs struct {
	Mode       string   // development, production, raw, none
	Level      string   // debug, info, warn, error
	Encoding   string   // console, json, or "" for that of the mode
	LineEnding string   // "" is a line feed
	Output     []string // stdout, stderr, files
	File       string   // file_logger_options: everything goes here, as JSON

	Channels map[string]Logs // by logger: server, http, …
}

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
	if channels.present() {
		t.warn("logs.channels", "Edge's own log has one level and form for all: `edge rr serve` has channels")
	}
	if len(l.Output) > 0 && l.Output[0] != "stderr" || l.File != "" {
		t.warn("logs.output", "Edge's own log goes to standard error: redirect it, or let systemd keep it")
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
		for _, key := range []string{"max_size", "max_age", "max_backups", "compress"} {
			if file.has(key) {
				t.warn(file.key, "the file is appended to and not rotated: rotation comes with Edge's telemetry; until then use logrotate with copytruncate")
			}
		}
		file.known("max_size", "max_age", "max_backups", "compress")
	}
	return l
}
