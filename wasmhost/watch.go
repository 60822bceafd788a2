package wasmhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	debounce    = 100 * time.Millisecond // after the last of several events
	debounceMax = time.Second            // after the first of them
	lookAgain   = 150 * time.Millisecond // at a file that may still be growing
	watchAgain  = time.Second            // for a folder that does not exist yet, or any more
	trimEvery   = 30 * time.Second       // of instances that nobody needs
)

// watch is the host's goroutine: it looks at files that changed, calls OnChange, and trims idle instances.
type watch struct {
	h       *Host
	fs      *fsnotify.Watcher
	files   map[string]bool // of named plugins
	missing map[string]bool // folders to be watched that could not be added: true if they were there at the last look
}

func newWatch(h *Host) (*watch, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch plugin files: %w (Linux: raise fs.inotify.max_user_instances)", err)
	}
	w := &watch{h: h, fs: watcher, files: map[string]bool{}, missing: map[string]bool{}}
	if h.cfg.Dir != "" {
		w.missing[filepath.Clean(h.cfg.Dir)] = false
	}
	for _, p := range h.named {
		w.files[p.file] = true
		w.missing[filepath.Dir(p.file)] = false
	}
	w.addMissing()
	return w, nil
}

// addMissing watches the folders that exist by now. It reports whether that, or a folder that came and went without a watch,
// is a reason to look.
func (w *watch) addMissing() (look bool) {
	for dir, wasThere := range w.missing {
		if err := w.fs.Add(dir); err == nil {
			delete(w.missing, dir)
			look = true
			continue
		}
		look = look || wasThere != exists(dir)
	}
	return look
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run ends with Stop.
func (w *watch) run() {
	defer w.fs.Close()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	retry := time.NewTicker(watchAgain)
	defer retry.Stop()
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
		case <-retry.C:
			if w.addMissing() {
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
	if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
		if w.isWatchedDir(name) { // the folder itself went, and the watch with it
			_ = w.fs.Remove(name)
			w.missing[name] = true
			return true
		}
	}
	return strings.HasSuffix(name, extension) || w.files[name]
}

func (w *watch) isWatchedDir(name string) bool {
	if w.h.cfg.Dir != "" && filepath.Clean(w.h.cfg.Dir) == name {
		return true
	}
	for file := range w.files {
		if filepath.Dir(file) == name {
			return true
		}
	}
	return false
}

func (w *watch) look() (again bool) {
	w.h.loading.Lock()
	defer w.h.loading.Unlock()
	if w.h.isStopping() {
		return false
	}
	for dir := range w.missing {
		w.missing[dir] = exists(dir)
	}
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
