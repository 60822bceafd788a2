package wasmhost

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/edge-server/edge/wasmhost/trust"
)

const (
	debounce    = 100 * time.Millisecond // after the last of several events
	debounceMax = time.Second            // after the first of them
	lookAgain   = 150 * time.Millisecond // at a file that may still be growing
	pollEvery   = time.Second            // whether files are what they were, for changes that no event tells of
	trimEvery   = 30 * time.Second       // of instances that nobody needs
)

// watch is the host's goroutine: it looks at files that changed, calls OnChange, and trims idle instances.
//
// Events tell of changes at once, but not of all: not when a symbolic link on the way to a file is turned (as Kubernetes
// does with a ConfigMap, and deployments with "current"), nor on network file systems. So it also asks each second whether
// folders and files are those of the last look, which costs one stat each.
type watch struct {
	h     *Host
	fs    *fsnotify.Watcher
	files map[string]bool        // of named plugins
	dirs  map[string]*watchedDir // that hold plugins, by path
	seen  map[string]fs.FileInfo // files at the last look; nil: not there
}

// watchedDir is a folder of plugins.
type watchedDir struct {
	watched fs.FileInfo // what events come from; nil without a watch
	seen    fs.FileInfo // at the last look; nil: not there
	failed  bool        // the watch could not be added, and that was said
}

func newWatch(h *Host) (*watch, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch plugin files: %w (Linux: raise fs.inotify.max_user_instances)", err)
	}
	w := &watch{h: h, fs: watcher, files: map[string]bool{}, dirs: map[string]*watchedDir{}, seen: map[string]fs.FileInfo{}}
	if h.cfg.Dir != "" {
		w.dirs[filepath.Clean(h.cfg.Dir)] = &watchedDir{}
	}
	for _, p := range h.named {
		w.files[p.file] = true
		w.dirs[filepath.Dir(p.file)] = &watchedDir{}
	}
	w.poll()
	return w, nil
}

// poll watches the folders that are there, and reports whether something is not what it was at the last look.
func (w *watch) poll() (look bool) {
	for path, dir := range w.dirs {
		info := stat(path)
		w.follow(path, dir, info)
		look = look || changed(dir.seen, info)
	}
	for _, p := range w.h.all() {
		was, known := w.seen[p.file]
		look = look || !known || changed(was, stat(p.file))
	}
	return look
}

// follow keeps the watch on the folder that path leads to now.
func (w *watch) follow(path string, dir *watchedDir, info fs.FileInfo) {
	if dir.watched != nil && (info == nil || !os.SameFile(info, dir.watched)) {
		w.unwatch(path)
	}
	if info == nil || dir.watched != nil {
		return
	}
	err := w.fs.Add(path)
	if err == nil {
		dir.watched = info
	} else if !dir.failed {
		w.h.log.Warn("no events from a folder of plugins; it is looked at each second", "folder", path, "error", err)
	}
	dir.failed = err != nil
}

func (w *watch) unwatch(path string) {
	_ = w.fs.Remove(path) // it is gone by itself if the folder is
	w.dirs[path].watched = nil
}

// note remembers what a look is about to see.
func (w *watch) note() {
	for path, dir := range w.dirs {
		dir.seen = stat(path)
	}
	clear(w.seen)
	for _, p := range w.h.all() {
		w.seen[p.file] = stat(p.file)
	}
}

// stat follows links; it is nil for what is not there or cannot be reached.
func stat(path string) fs.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

// changed reports whether a path leads to something else than it did.
func changed(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a != b
	}
	return !os.SameFile(a, b) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) || a.Mode() != b.Mode()
}

// run ends with Stop.
func (w *watch) run() {
	defer w.fs.Close()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	look := time.NewTimer(0) // something may have changed between New and Start
	defer look.Stop()
	var firstEvent time.Time // of those that look is waiting to be over; zero when it is not waiting

	schedule := func(after time.Duration) {
		if firstEvent.IsZero() {
			firstEvent = time.Now()
		}
		look.Reset(max(0, min(after, time.Until(firstEvent.Add(debounceMax)))))
	}
	for {
		select {
		case <-w.h.stopping:
			return
		case event, ok := <-w.fs.Events:
			if !ok {
				return
			}
			if w.concerns(event) {
				schedule(debounce)
			}
		case err := <-w.fs.Errors:
			// Most likely events were lost; looking at everything makes up for that.
			w.h.log.Warn("watching plugin files", "error", err)
			schedule(debounce)
		case <-poll.C:
			if w.poll() {
				schedule(debounce)
			}
		case <-look.C:
			firstEvent = time.Time{}
			if w.look() {
				look.Reset(lookAgain)
			}
		case <-w.h.changed:
			if w.h.change != nil {
				w.h.change()
			}
		case <-trim.C:
			w.trim()
		}
	}
}

// concerns reports whether an event is about a plugin's file or about a folder that is watched.
func (w *watch) concerns(event fsnotify.Event) bool {
	name := filepath.Clean(event.Name)
	if w.dirs[name] != nil && (event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)) {
		w.unwatch(name) // the folder itself went
		return true
	}
	_, _, plugin := splitExtension(strings.TrimSuffix(name, trust.Extension))
	return plugin || w.files[name]
}

func (w *watch) look() (again bool) {
	w.h.loading.Lock()
	defer w.h.loading.Unlock()
	if w.h.isStopping() {
		return false
	}
	w.note()
	again, _ = w.h.look(context.Background(), lookWatch) // failures are logged where they are found
	return again
}

func (w *watch) trim() {
	for _, p := range w.h.all() {
		if g := p.enter(); g != nil {
			g.pool.trim()
			g.leave()
		}
	}
}
