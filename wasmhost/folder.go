package wasmhost

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/wasmhost/trust"
)

const (
	extension = ".wasm"

	// maxModule bounds what is read into memory; the largest plugin known has 15 MiB.
	maxModule = 256 << 20

	// racy is how old a file must be for its time to tell that it has not changed: clocks of file systems are coarse.
	racy = 2 * time.Second

	// settle is how long a content that cannot be loaded must stay the same before it is called broken: until then it may
	// be a file that is still being written.
	settle = 500 * time.Millisecond
)

// lookMode says why files are looked at.
type lookMode int

const (
	lookStart  lookMode = iota // no patience: what cannot be loaded is broken
	lookWatch                  // something changed; a file that is being written gets time
	lookReload                 // somebody asked: as at the start, and what failed before is tried again
)

// folder is what looking at files remembers. Host.loading guards it.
type folder struct {
	read     map[*Plugin]fs.FileInfo // files whose content is known and settled
	signed   map[*Plugin]fs.FileInfo // their signatures, as of then
	suspects map[*Plugin]suspect     // contents that may still be growing
	ignored  map[string]string       // files of the folder that are not run, and why: said once
	trouble  string                  // with the folder itself, said once
}

// suspect is a content that could not be loaded and has not yet stayed the same for long enough.
type suspect struct {
	hash  [sha256.Size]byte
	since time.Time
	err   error
}

// failure is a plugin whose file could not be loaded.
type failure struct {
	plugin *Plugin
	err    error
}

func (f failure) Error() string {
	return fmt.Sprintf("load plugin %q from %s: %v", f.plugin.name, f.plugin.file, f.err)
}
func (f failure) Unwrap() error { return f.err }

var errUnsettled = errors.New("the file may still be growing")

// look brings every plugin in line with its file. It reports whether some file should be looked at again soon, and what
// could not be loaded. The caller holds loading.
func (h *Host) look(ctx context.Context, mode lookMode) (again bool, failures []failure) {
	if h.folder.suspects == nil {
		h.folder = folder{read: map[*Plugin]fs.FileInfo{}, signed: map[*Plugin]fs.FileInfo{}, suspects: map[*Plugin]suspect{}, ignored: map[string]string{}}
	}
	before := h.Unnamed()
	h.syncUnnamed()
	for _, p := range h.all() {
		if ctx.Err() != nil || mode != lookStart && h.isStopping() {
			break
		}
		err := h.lookAt(p, mode)
		switch {
		case errors.Is(err, errUnsettled):
			again = true
		case err != nil:
			failures = append(failures, failure{p, err})
		}
	}
	if err := ctx.Err(); err != nil && mode == lookStart {
		for _, p := range h.named { // New must not return a host whose plugins were not looked at
			failures = append(failures, failure{p, err})
		}
	}
	if !slices.Equal(before, h.Unnamed()) {
		h.notify()
	}
	slices.SortFunc(failures, func(a, b failure) int { return strings.Compare(a.plugin.name, b.plugin.name) })
	return again, failures
}

// notify asks the watch to call OnChange.
func (h *Host) notify() {
	select {
	case h.changed <- struct{}{}:
	default: // it is asked already
	}
}

// syncUnnamed makes a plugin for each file of the folder that edge.yaml does not name, and unloads those whose file is gone.
func (h *Host) syncUnnamed() {
	if !h.cfg.Auto || h.cfg.Dir == "" {
		return
	}
	files, err := h.listFolder()
	if err != nil {
		// A folder that cannot be read right now is not an empty one: nothing is unloaded.
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := map[string]*Plugin{}
	for _, p := range h.unnamed {
		known[p.file] = p
	}
	h.unnamed = h.unnamed[:0:0]
	for _, file := range files {
		p := known[file]
		delete(known, file)
		if p == nil {
			name, _, _ := splitExtension(filepath.Base(file))
			p, _ = newPlugin(name, file, false, defaultModule(), h.log) // without a config there is no error
			p.descriptors.all = &h.descriptors
		}
		h.unnamed = append(h.unnamed, p)
	}
	for _, p := range known {
		h.unload(p)
	}
}

func (h *Host) unload(p *Plugin) {
	delete(h.folder.suspects, p)
	delete(h.folder.read, p)
	delete(h.folder.signed, p)
	p.unloaded.Store(true)
	if g := p.takeOut(); g != nil {
		p.log.Info("plugin unloaded: its file is gone", "file", p.file)
		h.drain(p, g)
	}
}

// listFolder returns the files that run unnamed, sorted by name.
func (h *Host) listFolder() ([]string, error) {
	entries, err := os.ReadDir(h.cfg.Dir)
	h.noteFolder(err)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	claimed := h.claimedFiles()
	var files []string
	for _, entry := range entries {
		base := entry.Name()
		name, ext, ok := splitExtension(base)
		if !ok || strings.HasPrefix(base, ".") || entry.IsDir() {
			continue
		}
		file := filepath.Join(h.cfg.Dir, base)
		if claimed[absolute(file)] {
			continue
		}
		reason := h.whyIgnored(name)
		if reason == "" && ext == scriptExtension && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name+extension }) {
			reason = "there is a " + name + extension + ", and a name is that of one plugin"
		}
		if reason != "" {
			h.ignore(file, reason)
			continue
		}
		files = append(files, file)
	}
	return files, nil
}

// noteFolder says what is wrong with the folder, once.
func (h *Host) noteFolder(err error) {
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	if trouble == h.folder.trouble {
		return
	}
	h.folder.trouble = trouble
	switch {
	case errors.Is(err, fs.ErrNotExist):
		h.log.Info("the plugin folder does not exist; it is used once it does", "folder", h.cfg.Dir)
	case err != nil:
		h.log.Warn("the plugin folder cannot be read; its plugins stay as they are", "error", err)
	default:
		h.log.Info("the plugin folder can be read again", "folder", h.cfg.Dir)
	}
}

// claimedFiles are those that edge.yaml names.
func (h *Host) claimedFiles() map[string]bool {
	claimed := map[string]bool{}
	for _, p := range h.named {
		claimed[absolute(p.file)] = true
	}
	for _, file := range h.claimed {
		claimed[absolute(file)] = true
	}
	return claimed
}

func (h *Host) whyIgnored(name string) string {
	if p, taken := h.named[name]; taken {
		return fmt.Sprintf("edge.yaml has a plugin of this name in another file, %s", p.file)
	}
	return checkName(name)
}

func (h *Host) ignore(file, reason string) {
	if h.folder.ignored[file] != reason {
		h.folder.ignored[file] = reason
		h.log.Warn("file in the plugin folder is not run", "file", file, "reason", reason)
	}
}

func absolute(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		return abs
	}
	return file
}

// lookAt brings one plugin in line with its file.
func (h *Host) lookAt(p *Plugin, mode lookMode) error {
	info := stat(p.file)
	signed := h.statSignature(p)
	if was := h.folder.read[p]; was != nil && mode == lookWatch && !changed(was, info) && !changed(h.folder.signed[p], signed) {
		return nil
	}
	delete(h.folder.read, p)
	err := h.lookInto(p, mode)
	if notAdmitted := (errNotAdmitted{}); errors.As(err, &notAdmitted) {
		return err
	}
	if info != nil && !errors.Is(err, errUnsettled) && tells(info) && (signed == nil || tells(signed)) {
		h.folder.read[p], h.folder.signed[p] = info, signed
	}
	return err
}

// tells reports whether a file is old enough for its time to tell whether it changes.
func tells(info fs.FileInfo) bool { return time.Since(info.ModTime()) > racy }

// statSignature is stat of a signature that counts; nil without one.
func (h *Host) statSignature(p *Plugin) fs.FileInfo {
	if len(h.cfg.Trust) == 0 {
		return nil
	}
	return stat(p.file + trust.Extension)
}

// lookInto is lookAt for a file that may have changed.
func (h *Host) lookInto(p *Plugin, mode lookMode) error {
	module, err := readModule(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return h.fileGone(p, err, mode)
	}
	if err != nil {
		return h.loadFailed(p, hashError(err), err, mode)
	}
	hash := sha256.Sum256(module)
	if g := p.current.Load(); g != nil && g.hash == hash {
		if err := h.admit(p, module); err != nil {
			return h.outlawed(p, err, mode)
		}
		h.unchanged(p)
		return nil
	}
	if s, ok := h.folder.suspects[p]; ok && s.hash == hash && mode == lookWatch {
		return h.loadFailed(p, hash, s.err, mode)
	}
	if err := h.admit(p, module); err != nil {
		return h.loadFailed(p, hashError(err), err, mode)
	}
	if failed := p.failedBefore(hash); failed != nil && mode == lookWatch {
		return failed
	}
	g, err := h.loader.load(p, module)
	if err != nil {
		return h.loadFailed(p, hash, err, mode)
	}
	h.install(p, g)
	return nil
}

// hashError stands in for the hash of a content that could not be read: the same trouble is reported once, too.
func hashError(err error) [sha256.Size]byte { return sha256.Sum256([]byte(err.Error())) }

// install puts a new generation into service.
func (h *Host) install(p *Plugin, g *generation) {
	delete(h.folder.suspects, p)
	old := p.swap(g)
	if old == nil {
		p.log.Info("plugin loaded", "file", p.file)
		return
	}
	p.log.Info("plugin replaced", "file", p.file, "generation", g.number)
	h.drain(p, old)
}

// unchanged: the file has what serves, possibly again.
func (h *Host) unchanged(p *Plugin) {
	delete(h.folder.suspects, p)
	p.forgetFailure()
	if p.setDegraded("") {
		p.log.Info("plugin is no longer degraded: its file has what serves", "file", p.file)
	}
}

// outlawed: the file has what serves, but its signature has changed.
func (h *Host) outlawed(p *Plugin, err error, mode lookMode) error {
	return h.failed(p, hashError(err), err, mode, "it keeps serving, but the next start would refuse it: "+err.Error(),
		"plugin keeps serving, but the next start would refuse it")
}

// fileGone: a named plugin goes on with its last content, for an auth plugin that is being replaced must not open the
// door; at the start there is none.
func (h *Host) fileGone(p *Plugin, err error, mode lookMode) error {
	if p.current.Load() == nil {
		err = fmt.Errorf("%w: put the module there, or set plugins.modules.%s.file", err, p.name)
		return h.loadFailed(p, hashError(err), err, mode)
	}
	delete(h.folder.suspects, p)
	if p.setDegraded("its file " + p.file + " is gone; the last content keeps serving") {
		p.log.Warn("plugin is degraded: its file is gone, the last content keeps serving", "file", p.file)
	}
	return nil
}

// loadFailed reports a broken file. The old content keeps serving.
func (h *Host) loadFailed(p *Plugin, hash [sha256.Size]byte, err error, mode lookMode) error {
	serving, degraded := "nothing", ""
	if p.current.Load() != nil {
		serving, degraded = "the old content", "its file "+p.file+" cannot be loaded; the last content keeps serving"
	}
	return h.failed(p, hash, err, mode, degraded, "plugin cannot be loaded", "serving", serving)
}

// failed reports what is wrong with a file: by a line to the log and to the counter once per content, to the caller always. degraded
// is what it makes of the plugin, "" if nothing serves.
func (h *Host) failed(p *Plugin, hash [sha256.Size]byte, err error, mode lookMode, degraded, line string, more ...any) error {
	if mode == lookWatch && p.failedBefore(hash) == nil {
		s, ok := h.folder.suspects[p]
		if !ok || s.hash != hash {
			s = suspect{hash: hash, since: time.Now(), err: err}
			h.folder.suspects[p] = s
		}
		if time.Since(s.since) < settle {
			return errUnsettled
		}
	}
	delete(h.folder.suspects, p)
	if degraded != "" {
		p.setDegraded(degraded)
	}
	if p.loadFailed(hash, err) && !(p.named && mode == lookStart) { // that one refuses the start, which says why
		p.log.Error(line, append([]any{"file", p.file, "error", err}, more...)...)
	}
	return err
}

// readModule reads a regular file of bounded size.
func readModule(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	if info.Size() > maxModule {
		return nil, fmt.Errorf("%s has %d MiB; a module has at most %d", file, info.Size()>>20, maxModule>>20)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxModule))
}
