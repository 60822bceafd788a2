package middleware

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// StaticConfig says which files of an application's public folder are served before the application is asked.
type StaticConfig struct {
	// Root is the folder.
	Root string
	// Index is the script of a folder, such as index.php, in applications in which a path may name a folder: its index.html is
	// served unless it has that script, and a slash is added to its name when it has one of the two. Empty: the application gets
	// the paths of folders.
	Index string
	// Forbid and Allow are extensions, such as .txt: those never served, and the only ones served. Default: what NewFiles serves.
	Forbid, Allow []string
	// Links are folders, beside the root, that symbolic links of the root may lead into, such as the storage folder of an application.
	Links []string
	// As opens what such a link leads to with the rights of somebody else than this process, when it is not nil: who can make a link
	// must not be able to read by it what only the server may.
	As func(open func() error) error
}

// privateNames and privateEndings are of files that are no page of any application but lie where its scripts do, when the public
// folder is the application's own.
var (
	privateNames   = []string{"artisan", "composer.json", "composer.lock", "auth.json", "symfony.lock", "web.config"}
	privateEndings = []string{"sql", "sqlite", "sqlite3", "db", "log", "key", "p12", "pfx", "ppk"}
)

// static serves the files that are there and may be served, by the rules of NewFiles. Everything else is for the application: what
// is hidden or a program's source is not there for it either.
//
// A request for anything but a file costs one look into the folder, one for / none.
type static struct {
	StaticConfig
	next http.Handler
}

// NewStatic returns the handler that serves files of the folder, which must exist, and passes all other requests on.
func NewStatic(cfg StaticConfig, next http.Handler) (http.Handler, error) {
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		err = errors.New(root + " is a file, not a folder")
	}
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	cfg.Root = root
	return &static{cfg, next}, nil
}

func (h *static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !h.serve(w, r) {
		h.next.ServeHTTP(w, r)
	}
}

// serve answers the request, or reports that there is no file to do it with.
func (h *static) serve(w http.ResponseWriter, r *http.Request) bool {
	clean, ok := cleanPath(r.URL.Path)
	if !ok || clean == "/" && h.Index == "" {
		return false
	}
	name := strings.Trim(clean, "/")
	if name != "" && isPrivate(name) {
		return false
	}
	// This look follows links wherever they lead: what it finds is only believed when it is opened below.
	info, err := os.Stat(filepath.Join(h.Root, name))
	folder := strings.HasSuffix(clean, "/")
	switch {
	case err != nil:
		return false
	case info.IsDir():
		return h.Index != "" && h.serveFolder(w, r, clean, name)
	case folder || !info.Mode().IsRegular() || !h.served(name):
		return false
	}
	return h.serveName(w, r, name)
}

// serveFolder serves the index.html of a folder that has no script.
func (h *static) serveFolder(w http.ResponseWriter, r *http.Request, clean, name string) bool {
	has := func(file string) bool {
		info, err := os.Stat(filepath.Join(h.Root, name, file))
		return err == nil && info.Mode().IsRegular()
	}
	script := has(h.Index)
	if !strings.HasSuffix(clean, "/") {
		if !script && !has("index.html") {
			return false
		}
		redirectToFolder(w, r, clean)
		return true
	}
	return !script && has("index.html") && h.serveName(w, r, path.Join(name, "index.html"))
}

// isPrivate reports whether a name is one that no client is to see the file of.
func isPrivate(name string) bool {
	base := path.Base(name)
	return isHidden(name) || isSource(base) || endsIn(base, privateEndings) || oneOf(privateNames, base)
}

// served reports whether a file of that name is one to be served.
func (h *static) served(name string) bool {
	extension := path.Ext(name)
	return !oneOf(h.Forbid, extension) && (len(h.Allow) == 0 || oneOf(h.Allow, extension))
}

// serveName serves a file, if it can be opened without leaving the folder but by a link that may.
func (h *static) serveName(w http.ResponseWriter, r *http.Request, name string) bool {
	file, info, err := openIn(h.Root, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		file, info, err = h.openLinked(name)
	}
	if err != nil {
		return false
	}
	defer file.Close()
	if info.IsDir() {
		return false
	}
	serveFile(w, r, file, info)
	return true
}

func openIn(folder, name string) (*os.File, fs.FileInfo, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	return openFile(root, name)
}

// openLinked opens what a link leads to: absolutely written, into the folder itself, or into one of those that links may lead into.
// Its real name has to be one that may be served, too.
func (h *static) openLinked(name string) (file *os.File, info fs.FileInfo, err error) {
	open := func() error {
		real, err := filepath.EvalSymlinks(filepath.Join(h.Root, name))
		if err != nil {
			return err
		}
		for _, folder := range append([]string{h.Root}, h.Links...) {
			if folder, err = filepath.EvalSymlinks(folder); err != nil {
				continue
			}
			below, err := filepath.Rel(folder, real)
			if err != nil || !filepath.IsLocal(below) || isPrivate(filepath.ToSlash(below)) {
				continue
			}
			file, info, err = openIn(folder, below)
			return err
		}
		return fs.ErrNotExist
	}
	if h.As == nil {
		return file, info, open()
	}
	err = h.As(open)
	return file, info, err
}
