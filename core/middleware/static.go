package middleware

import (
	"errors"
	"fmt"
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
}

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
	if name != "" && (isHidden(name) || isSource(path.Base(name))) {
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

// served reports whether a file of that name is one to be served.
func (h *static) served(name string) bool {
	ends := func(extensions []string) bool {
		for _, e := range extensions {
			if strings.EqualFold(path.Ext(name), e) {
				return true
			}
		}
		return false
	}
	return !ends(h.Forbid) && (len(h.Allow) == 0 || ends(h.Allow))
}

// serveName serves a file, if it can be opened without leaving the folder.
func (h *static) serveName(w http.ResponseWriter, r *http.Request, name string) bool {
	root, err := os.OpenRoot(h.Root)
	if err != nil {
		return false
	}
	defer root.Close()
	file, info, err := openFile(root, name)
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
