package pluginkit

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lookEvery is how often the sources are looked at. Asking the file system for the times of some dozen files costs less than
// it takes to explain why a notification did not come (editors that rename, network mounts, new folders).
const lookEvery = 300 * time.Millisecond

// Dev builds the plugin in dir now and whenever its source changes, until ctx ends.
func Dev(ctx context.Context, dir, out string, log io.Writer) error {
	project, err := OpenProject(dir)
	if err != nil {
		return err
	}
	if out == "" {
		out = project.devOutput()
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	fmt.Fprintf(log, "%s: built again on save, into %s\n", project.Name, out)
	watch := devWatch{log: log, known: map[string]sources{}}
	for {
		watch.look(ctx, project, out)
		if !sleep(ctx) {
			return nil
		}
	}
}

// DevFolder does for the folders with a plugin's source below the plugin folder of a server what Dev does for one.
type DevFolder struct {
	folder string
	files  map[string]string
	watch  devWatch
}

// NewDevFolder watches the plugin folder of a server. files are the plugins that its edge.yaml names and where each is to be;
// "" is the folder itself.
func NewDevFolder(folder string, files map[string]string, log io.Writer) *DevFolder {
	return &DevFolder{folder: folder, files: files, watch: devWatch{log: log, known: map[string]sources{}}}
}

// Begin builds what is older than its source, of those plugins that edge.yaml names or that are in service. A plugin that only
// lies there in source runs on no route until somebody touches it.
func (d *DevFolder) Begin(ctx context.Context) {
	d.each(func(p Project, out string) {
		_, named := d.files[p.Name]
		built, err := os.Stat(out)
		if err != nil && !named || err == nil && built.ModTime().After(p.sources(out).newest) {
			d.watch.skip(p, out)
			return
		}
		d.watch.look(ctx, p, out)
	})
}

// Run builds whatever is saved, until ctx ends.
func (d *DevFolder) Run(ctx context.Context) {
	for sleep(ctx) {
		d.each(func(p Project, out string) { d.watch.look(ctx, p, out) })
	}
}

// each calls do for every folder with source, and where its plugin goes to.
func (d *DevFolder) each(do func(p Project, out string)) {
	entries, _ := os.ReadDir(d.folder) // a folder that is not there yet has none
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		p, err := OpenProject(filepath.Join(d.folder, entry.Name()))
		if err != nil {
			continue // no source in it
		}
		out := d.files[p.Name]
		if out == "" {
			out = filepath.Join(d.folder, p.Name+p.extension())
		}
		do(p, out)
	}
}

func sleep(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(lookEvery):
		return true
	}
}

// devOutput is the folder of plugins that dir is in, if it is called so, else dir.
func (p Project) devOutput() string {
	if parent := filepath.Dir(p.Dir); filepath.Base(parent) == "plugins-wasm" {
		return filepath.Join(parent, p.Name+p.extension())
	}
	return p.Output()
}

// sources is what the files of a project look like from outside.
type sources struct {
	newest time.Time
	files  int
	bytes  int64
}

// devWatch remembers what was built.
type devWatch struct {
	log   io.Writer
	known map[string]sources // by folder
}

// skip takes the project as built.
func (w *devWatch) skip(p Project, out string) { w.known[p.Dir] = p.sources(out) }

func (w *devWatch) look(ctx context.Context, p Project, out string) {
	now := p.sources(out)
	if before, known := w.known[p.Dir]; known && now == before {
		return
	}
	w.known[p.Dir] = now
	began := time.Now()
	err := p.Build(ctx, out, w.log)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		fmt.Fprintf(w.log, "%s is not built: %v\n", p.Name, err)
	default:
		fmt.Fprintf(w.log, "%s is built, in %s\n", p.Name, time.Since(began).Round(10*time.Millisecond))
	}
}

// builtFolders hold what compilers make.
var builtFolders = map[string]bool{"target": true, "node_modules": true, "zig-cache": true, "zig-out": true}

// sources looks at the files of the project, but for what a build makes.
func (p Project) sources(out string) (s sources) {
	_ = filepath.WalkDir(p.Dir, func(path string, entry fs.DirEntry, err error) error {
		name := ""
		if entry != nil {
			name = entry.Name()
		}
		switch {
		case err != nil:
			return nil // gone since it was listed
		case entry.IsDir() && path != p.Dir && (builtFolders[name] || strings.HasPrefix(name, ".")):
			return filepath.SkipDir
		case entry.IsDir() || path == out || filepath.Ext(name) == ".wasm" || name == "Cargo.lock" || strings.HasPrefix(name, ".edge-"):
			return nil
		}
		if info, err := entry.Info(); err == nil {
			s.files++
			s.bytes += info.Size()
			if info.ModTime().After(s.newest) {
				s.newest = info.ModTime()
			}
		}
		return nil
	})
	return s
}
