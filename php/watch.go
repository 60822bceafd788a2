package php

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// debounce is the silence after a change that ends a burst of them, such as a checkout.
	debounce = 100 * time.Millisecond
	// maxBurst is when a burst without an end counts as one.
	maxBurst = 2 * time.Second
)

// startWatch watches what the configuration names and reloads the pool when it changes.
func (p *Pool) startWatch() error {
	if len(p.cfg.Watch) == 0 || p.alone() {
		return nil
	}
	w, err := p.newWatcher()
	if err != nil {
		return fmt.Errorf("php pool %q: %w", p.name, err)
	}
	p.control.Go(func() { p.watch(w) }) // ends with life
	return nil
}

// newWatcher watches everything as it is found now.
func (p *Pool) newWatcher() (*watcher, error) {
	base, err := filepath.Abs(p.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	fsw, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	w := &watcher{fs: fsw, links: map[string]string{}}
	for _, pattern := range p.cfg.Watch {
		if err := w.add(base, pattern); err != nil {
			fsw.Close()
			return nil, fmt.Errorf("watch %s: %w", pattern, err)
		}
	}
	return w, nil
}

// watch reloads after every burst of changes.
func (p *Pool) watch(w *watcher) {
	defer func() { w.fs.Close() }() // of the last one
	var began time.Time             // the burst, zero between two
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	changed := func() {
		if began.IsZero() {
			began = time.Now()
		}
		quiet.Reset(max(0, min(debounce, time.Until(began.Add(maxBurst)))))
	}
	for {
		select {
		case <-p.life.Done():
			return
		case event := <-w.fs.Events:
			if w.matters(event) {
				changed()
			}
		case err := <-w.fs.Errors:
			// Events were lost, so something changed.
			p.log.Warn("php watch", "pool", p.name, "error", err)
			changed()
		case <-quiet.C:
			began = time.Time{}
			w = p.follow(w)
			if err := p.Reload(p.life); err != nil && p.life.Err() == nil {
				p.log.Error("php code changed and does not start, the old code keeps serving", "pool", p.name, "error", err)
			}
		}
	}
}

// follow returns a watcher of where the links lead now, when one of them was moved: a deployment does not change files, it
// points its link to others.
func (p *Pool) follow(w *watcher) *watcher {
	if !w.moved() {
		return w
	}
	next, err := p.newWatcher()
	if err != nil {
		// Links are gone for a moment when they are not replaced in one step. Their return is seen by the old one.
		p.log.Warn("php watch: a link was moved and cannot be followed yet", "pool", p.name, "error", err)
		return w
	}
	w.fs.Close()
	return next
}

// watcher knows the folders that are watched and which of their files matter.
type watcher struct {
	fs    *fsnotify.Watcher
	rules []watchRule
	links map[string]string // symlinks on the way to the folders, and what they say
}

// moved reports whether a link says something else by now.
func (w *watcher) moved() bool {
	for link, target := range w.links {
		if now, err := os.Readlink(link); err != nil || now != target {
			return true
		}
	}
	return false
}

// resolve follows the symlinks on the way to path, and watches each of them.
func (w *watcher) resolve(path string) (string, error) {
	resolved, rest := string(filepath.Separator), split(path)
	for len(rest) > 0 {
		next := filepath.Join(resolved, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			resolved = next
			continue
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if len(w.links) >= maxLinks {
			return "", fmt.Errorf("%s: there are more than %d symlinks on the way", path, maxLinks)
		}
		w.links[next] = target
		if err := w.fs.Add(resolved); err != nil {
			return "", err
		}
		rest = append(split(target), rest...)
		if filepath.IsAbs(target) {
			resolved = string(filepath.Separator)
		}
	}
	return resolved, nil
}

// maxLinks ends the search in links that lead to each other.
const maxLinks = 255

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, string(filepath.Separator)), func(s string) bool { return s == "" })
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
			dir, err := w.resolve(pattern)
			if err != nil {
				return err
			}
			w.rules = append(w.rules, watchRule{dir: dir})
			return w.addTree(dir)
		}
	}
	dir, rest := filepath.Split(pattern)
	for strings.ContainsAny(dir, "*?[") {
		dir = filepath.Clean(dir)
		rest = filepath.Join(filepath.Base(dir), rest)
		dir = filepath.Dir(dir)
	}
	dir, err := w.resolve(dir)
	if err != nil {
		return err
	}
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
	if _, isLink := w.links[event.Name]; isLink {
		return true
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
