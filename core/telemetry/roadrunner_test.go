package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// roadRunnerLines logs the same records with a configuration and returns what came out.
func roadRunnerLines(t *testing.T, c RoadRunnerLog) (stdout, stderr, file string) {
	t.Helper()
	var out, errs bytes.Buffer
	dir := t.TempDir()
	log, done, err := NewRoadRunnerLogger(c, Streams{Stdout: &out, Stderr: &errs, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	server, http := log.With("logger", "server"), log.With("logger", "http")
	server.Info("dd(\"x\")\x00\xff\n", "pid", 7)
	http.Info("http log", "status", 200, "start", time.Unix(1, 5), "elapsed", int64(3))
	http.Debug("detail", "group", slog.GroupValue(slog.Duration("wait", 1500*time.Millisecond)), "error", errors.New("no"))
	log.Error("plain")
	if err := done(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "a.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), string(text)
}

func TestRoadRunnerProduction(t *testing.T) {
	t.Parallel()
	out, errs, _ := roadRunnerLines(t, RoadRunnerLog{Mode: "production", Level: "debug", Output: []string{"stdout"}})
	var records []map[string]any
	for line := range strings.Lines(out) {
		var record map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&record); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		records = append(records, record)
	}
	if len(records) != 4 || errs != "" {
		t.Fatalf("%d records, stderr %q", len(records), errs)
	}
	for i, want := range []map[string]any{
		{"level": "info", "logger": "server", "msg": "dd(\"x\")\x00\ufffd\n", "pid": json.Number("7")},
		{"level": "info", "logger": "http", "msg": "http log", "status": json.Number("200"), "start": json.Number("1000000005"), "elapsed": json.Number("3")},
		{"level": "debug", "logger": "http", "msg": "detail", "error": "no"},
		{"level": "error", "logger": "edge", "msg": "plain"},
	} {
		for key, value := range want {
			if records[i][key] != value {
				t.Errorf("record %d: %s is %q, want %q", i, key, records[i][key], value)
			}
		}
	}
	if wait := records[2]["group"].(map[string]any)["wait"]; wait != json.Number("1.5") {
		t.Errorf("the duration is %v", wait)
	}
	if ts, err := records[0]["ts"].(json.Number).Int64(); err != nil || time.Since(time.Unix(0, ts)) > time.Hour {
		t.Errorf("ts is %v: %v", records[0]["ts"], err)
	}
}

func TestRoadRunnerModes(t *testing.T) {
	t.Parallel()
	_, errs, _ := roadRunnerLines(t, RoadRunnerLog{Mode: "development", Level: "info"})
	lines := strings.Split(errs, "\n")
	if fields := strings.Split(lines[len(lines)-2], "\t"); len(fields) != 4 || fields[1] != "ERROR" || fields[2] != "edge" || fields[3] != "plain" {
		t.Errorf("development: %q", fields)
	}
	if !strings.Contains(errs, "\tINFO\thttp\thttp log\t{\"status\":200,\"start\":\"1970-01-01T00:00:01.000000005Z\",\"elapsed\":3}\n") {
		t.Errorf("development: %q", errs)
	}

	_, errs, _ = roadRunnerLines(t, RoadRunnerLog{
		Mode: "none", Level: "debug", Channels: map[string]RoadRunnerLog{"server": {Mode: "raw", Level: "info", LineEnding: "|"}},
	})
	if errs != "dd(\"x\")\x00\xff\n|" {
		t.Errorf("none, and raw for the workers: %q", errs)
	}

	out, errs, file := roadRunnerLines(t, RoadRunnerLog{Mode: "raw", Level: "error", File: "a.log"})
	if out+errs != "" || strings.Count(file, "\n") != 1 || !strings.Contains(file, `"msg":"plain"`) {
		t.Errorf("a file: %q, %q, %q", out, errs, file)
	}
	if _, _, err := NewRoadRunnerLogger(RoadRunnerLog{Output: []string{"/nowhere/a.log"}}, Streams{Stdout: io.Discard, Stderr: io.Discard}); err == nil {
		t.Error("a file in a folder that is not there was opened")
	}
}

// TestRoadRunnerFormat is `log: {format: roadrunner}` of edge.yaml.
func TestRoadRunnerFormat(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, level := NewLogger(LogConfig{Level: "info", Format: "roadrunner"}, &out)
	log.With("logger", "server").Info("php worker is ready", "pid", 1)
	log.Debug("not yet")
	level.Set(slog.LevelDebug)
	log.WithGroup("a").Debug("now", "b", 1)
	text := out.String()
	if strings.Contains(text, "not yet") || !strings.Contains(text, `"msg":"worker is allocated","pid":1,"internal_event_name":"EventWorkerConstruct"}`) || !strings.Contains(text, `"a.b":1`) {
		t.Errorf("got %s", text)
	}
}

func FuzzQuoted(f *testing.F) {
	f.Add("a\"b\\c\n\r\t\x00\x1f\x7fä\xff\xed\xa0\x80€")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendQuoted(nil, s), &got); err != nil || got != strings.ToValidUTF8(strings.Map(func(r rune) rune { return r }, s), "\ufffd") {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
	})
}

// TestRoadRunnerEvents: what pools log has RoadRunner's names of events, by which people alert, and raw channels keep what was thrown.
func TestRoadRunnerEvents(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"php worker is gone": "EventWorkerDestruct", "php application error": "EventWorkerSoftError", "no php worker was free for requests": "EventNoFreeWorkers",
		"php worker took longer than exec_timeout and was killed": "EventExecTTL", "php worker is beyond max_memory and is to be replaced": "EventMaxMemory",
		"php worker reached its ttl and is to be replaced": "EventTTL",
	} {
		var out bytes.Buffer
		log, _ := NewLogger(LogConfig{Level: "debug", Format: "roadrunner"}, &out)
		log.With("logger", "server").Warn(message, "pid", 7)
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "7") {
			t.Errorf("%s: %q, want %s", message, &out, want)
		}
	}
	var errs bytes.Buffer
	channels := map[string]RoadRunnerLog{"server": {Mode: "raw", Level: "debug"}}
	log, _, err := NewRoadRunnerLogger(RoadRunnerLog{Mode: "none", Level: "debug", Channels: channels}, Streams{Stdout: io.Discard, Stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	log.With("logger", "server").Error("php application error", "error", "DomainException: broken")
	if !strings.Contains(errs.String(), "DomainException: broken") {
		t.Errorf("raw: %q", &errs)
	}
}
