package httpserver

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// watchEvery is how often files of certificates are looked at. A look is a stat each: it finds renames, links that lead elsewhere and
// network folders alike, which notifications of the kernel do not.
const watchEvery = time.Second

// watchedFiles are loaded again when they have changed and have been at rest for a moment: a pair is written one file after the other.
type watchedFiles struct {
	what  string
	load  func() error
	log   *slog.Logger
	files []string

	loaded, latest string // the looks of the files
}

func watchFiles(what string, load func() error, log *slog.Logger, files ...string) *watchedFiles {
	w := &watchedFiles{what: what, load: load, log: log, files: files}
	w.loaded = w.look()
	w.latest = w.loaded
	return w
}

// look describes the files as they are.
func (w *watchedFiles) look() string {
	var b strings.Builder
	for _, name := range w.files {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(&b, info.ModTime().UnixNano(), info.Size(), inode(info))
		} else {
			fmt.Fprintln(&b, "none")
		}
	}
	return b.String()
}

// check loads what has changed. What cannot be loaded changes nothing, and is said once.
func (w *watchedFiles) check() {
	now := w.look()
	rests := now == w.latest
	w.latest = now
	if !rests || now == w.loaded {
		return
	}
	w.loaded = now
	if err := w.load(); err != nil {
		w.log.Error("the files have changed and cannot be used; what was loaded before serves on", "what", w.what, "files", w.files, "error", err)
		return
	}
	w.log.Info("files loaded again", "what", w.what, "files", w.files)
}

// watch checks all until done is closed.
func (c *certificates) watch(done <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			for _, files := range c.files {
				files.check()
			}
		}
	}
}
