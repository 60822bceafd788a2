package php

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// debounce is the silence after a change that ends a burst of them, such as a checkout.
const debounce = 100 * time.Millisecond

// startWatch watches what the configuration names and reloads the pool when it changes.
func (p *Pool) startWatch() error {
	if len(p.cfg.Watch) == 0 {
		return nil
	}
	fsw, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("php pool %q: watch: %w", p.name, err)
	}
	w := &watcher{fs: fsw}
	for _, pattern := range p.cfg.Watch {
		if err := w.add(p.spec.dir, pattern); err != nil {
			fsw.Close()
			return fmt.Errorf("php pool %q: watch %s: %w", p.name, pattern, err)
		}
	}
	p.control.Go(func() { // ends with life
		defer fsw.Close()
		p.watch(w)
	})
	return nil
}

// watch reloads after every burst of changes.
func (p *Pool) watch(w *watcher) {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-p.life.Done():
			return
		case event := <-w.fs.Events:
			if w.matters(event) {
				quiet.Reset(debounce)
			}
		case err := <-w.fs.Errors:
			// Events were lost, so something changed.
			p.log.Warn("php watch", "pool", p.name, "error", err)
			quiet.Reset(debounce)
		case <-quiet.C:
			if err := p.Reload(p.life); err != nil && p.life.Err() == nil {
				p.log.Error("php code changed and does not start, the old code keeps serving", "pool", p.name, "error", err)
			}
		}
	}
}

// watcher knows the folders that are watched and which of their files matter.
type watcher struct {
	fs    *fsnotify.Watcher
	rules []watchRule
}

// watchRule is one entry of watch: a folder and what in it matters.
type watchRule struct {
	dir     string
	pattern string // a glob relative to dir; "" means .php files at any depth
}

// add watches a folder, a file or a glob. Relative ones start at the pool's folder.
func (w *watcher) add(base, pattern string) error {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(base, pattern)
	}
	if !strings.ContainsAny(pattern, "*?[") {
		info, err := os.Stat(pattern)
		if err != nil {
			return err
		}
		if info.IsDir() {
			w.rules = append(w.rules, watchRule{dir: pattern})
			return w.addTree(pattern)
		}
	}
	dir, rest := filepath.Split(pattern)
	for strings.ContainsAny(dir, "*?[") {
		dir = filepath.Clean(dir)
		rest = filepath.Join(filepath.Base(dir), rest)
		dir = filepath.Dir(dir)
	}
	dir = filepath.Clean(dir)
	w.rules = append(w.rules, watchRule{dir: dir, pattern: rest})
	if !strings.ContainsRune(rest, filepath.Separator) {
		return w.fs.Add(dir)
	}
	return w.addTree(dir)
}

// addTree watches a folder and all below it, except hidden ones and node_modules.
func (w *watcher) addTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != root {
			return nil // removed while we look
		}
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			return nil
		}
		if name := entry.Name(); path != root && (strings.HasPrefix(name, ".") || name == "node_modules") {
			return filepath.SkipDir
		}
		return w.fs.Add(path)
	})
}

// matters reports whether the event is about a watched file. New folders are watched from now on, and count as a change: they may
// hold files already.
func (w *watcher) matters(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	if event.Has(fsnotify.Create) {
		if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
			return w.newDir(event.Name)
		}
	}
	for _, rule := range w.rules {
		if rel, err := filepath.Rel(rule.dir, event.Name); err == nil && rule.matches(rel) {
			return true
		}
	}
	return false
}

func (w *watcher) newDir(path string) bool {
	if strings.HasPrefix(filepath.Base(path), ".") {
		return false
	}
	for _, rule := range w.rules {
		deep := rule.pattern == "" || strings.ContainsRune(rule.pattern, filepath.Separator)
		rel, err := filepath.Rel(rule.dir, path)
		if deep && err == nil && filepath.IsLocal(rel) {
			return w.addTree(path) == nil
		}
	}
	return false
}

// matches reports whether a path relative to the rule's folder matters.
func (r watchRule) matches(rel string) bool {
	if !filepath.IsLocal(rel) {
		return false
	}
	if r.pattern == "" {
		return strings.HasSuffix(rel, ".php")
	}
	const sep = string(filepath.Separator)
	return matchPath(strings.Split(r.pattern, sep), strings.Split(rel, sep))
}

// matchPath matches segment by segment; ** stands for any number of segments.
func matchPath(pattern, path []string) bool {
	if len(pattern) == 0 {
		return len(path) == 0
	}
	if pattern[0] == "**" {
		for i := range len(path) + 1 {
			if matchPath(pattern[1:], path[i:]) {
				return true
			}
		}
		return false
	}
	if len(path) == 0 {
		return false
	}
	ok, err := filepath.Match(pattern[0], path[0])
	return err == nil && ok && matchPath(pattern[1:], path[1:])
}
