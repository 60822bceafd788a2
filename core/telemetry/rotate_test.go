package telemetry

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
)

// TestRotation writes from many goroutines while files are put aside: every line is in exactly one file, whole.
func TestRotation(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	path := filepath.Join(dir, "edge.log")
	f, err := OpenFile(path, Rotate{MaxSize: 4 * bytesize.KiB, Compress: true})
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := fmt.Fprintf(f, "line %d of %d %s\n", i, w, strings.Repeat("x", 20)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("last words\n")); err != nil {
		t.Errorf("after Close: %v", err)
	}
	seen := map[string]int{}
	files, packed := 0, 0
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		text := read(t, filepath.Join(dir, e.Name()))
		files++
		if strings.HasSuffix(e.Name(), ".gz") {
			packed++
		}
		if len(text) > 4<<10 {
			t.Errorf("%s has %d bytes", e.Name(), len(text))
		}
		for line := range strings.Lines(text) {
			seen[line]++
		}
	}
	if len(seen) != writers*each+1 || files < 10 || packed < files-2 {
		t.Errorf("%d lines in %d files, of which %d are packed", len(seen), files, packed)
	}
	for line, n := range seen {
		if n != 1 {
			t.Errorf("%q is there %d times", line, n)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReopen: a file that another program has put aside is left when asked to, and one that has its name still is not.
func TestReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testenv.Dir(t), "edge.log")
	f, err := OpenFile(path, Rotate{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	say := func(line string) {
		t.Helper()
		if _, err := io.WriteString(f, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	say("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	say("two")
	say("three")
	for name, want := range map[string]string{path + ".1": "one\ntwo\n", path: "three\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s has %q (%v), want %q", filepath.Base(name), got, err, want)
		}
	}
}

// TestOldFiles goes by number and age, and touches nothing that it has not made.
func TestOldFiles(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	name := func(age time.Duration) string {
		return "edge-" + time.Now().Add(-age).UTC().Format(asideLayout) + ".log"
	}
	ancient, old, young, foreign := name(100*time.Hour), name(2*time.Hour), name(time.Hour), "edge-of-tomorrow.log"
	for _, n := range []string{ancient, old, young, foreign} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		var names []string
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	for _, tt := range []struct {
		rule Rotate
		want []string
	}{
		{Rotate{}, []string{ancient, old, young, foreign, "edge.log"}},
		{Rotate{MaxAge: 50 * time.Hour}, []string{old, young, foreign, "edge.log"}},
		{Rotate{Backups: 1, Compress: true}, []string{young + ".gz", foreign, "edge.log"}},
	} {
		f, err := OpenFile(filepath.Join(dir, "edge.log"), tt.rule)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := left(), strings.Join(tt.want, " "); got != want {
			t.Errorf("%+v leaves %s, want %s", tt.rule, got, want)
		}
	}
}

// TestRotationThatFails keeps the log where it is.
func TestRotationThatFails(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	path := filepath.Join(dir, "edge.log")
	f, err := OpenFile(path, Rotate{MaxSize: 4 * bytesize.KiB})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(path); err != nil { // so that it cannot be renamed
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 1000)
	for range 10 {
		if _, err := f.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFile(filepath.Join(dir, "no", "such", "folder.log"), Rotate{}); err == nil {
		t.Error("opened a file in a folder that is not there")
	}
}

// TestChannelsAndSampling of Edge's own log.
func TestChannelsAndSampling(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := DefaultLogConfig()
	c.Format, c.Level = "json", "info"
	c.Channels = map[string]Channel{"http": {Level: "error"}, "rpc": {Level: "debug"}}
	c.Sample = Sample{First: 2, Every: 3}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	log, level := NewLogger(c, &out)
	count := func(text string) int { return strings.Count(out.String(), `"msg":"`+text+`"`) }

	log.Debug("root debug")
	log.Info("root info")
	log.With(LoggerKey, "http").Warn("http warn")
	log.With("a", 1).With(LoggerKey, "http").Error("http error")
	log.With(LoggerKey, "rpc").WithGroup("g").Debug("rpc debug", "k", "v")
	log.With(LoggerKey, "http").With(LoggerKey, "other").Info("other info")
	level.Set(slog.LevelDebug)
	log.Debug("now debug")
	for text, want := range map[string]int{"root debug": 0, "root info": 1, "http warn": 0, "http error": 1, "rpc debug": 1, "other info": 1, "now debug": 1} {
		if count(text) != want {
			t.Errorf("%q is there %d times, want %d", text, count(text), want)
		}
	}

	// All at one moment: the third and so on are one of three.
	h, at := log.Handler(), time.Now()
	for range 11 {
		_ = h.Handle(t.Context(), slog.NewRecord(at, slog.LevelWarn, "again", 0))
		_ = h.Handle(t.Context(), slog.NewRecord(at, slog.LevelError, "bad", 0))
	}
	if count("again") != 2+3 || count("bad") != 11 {
		t.Errorf("%d of 11 warnings and %d of 11 errors", count("again"), count("bad"))
	}
	_ = h.Handle(t.Context(), slog.NewRecord(at.Add(time.Second), slog.LevelWarn, "again", 0))
	if count("again") != 2+3+1 {
		t.Error("the next second does not begin anew")
	}
	for i := range 2 * maxSampled {
		_ = h.Handle(t.Context(), slog.NewRecord(at, slog.LevelInfo, fmt.Sprint("text ", i), 0))
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	for want, change := range map[string]func(*LogConfig){
		"channels.x.level: ":   func(c *LogConfig) { c.Channels = map[string]Channel{"x": {}} },
		"output: ":             func(c *LogConfig) { c.Output = "" },
		"rotate.max_size: ":    func(c *LogConfig) { c.Rotate.MaxSize = 1 },
		"sample: numbers":      func(c *LogConfig) { c.Sample.First = -1 },
		"format: \"xml\" is n": func(c *LogConfig) { c.Format = "xml" },
	} {
		c := DefaultLogConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
