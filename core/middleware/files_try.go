package middleware

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
)

// serveTries serves the first entry of try_files that is there. An error means that nothing was sent.
func (h *files) serveTries(w http.ResponseWriter, r *http.Request, folder *os.Root, clean string) error {
	below := strings.TrimSuffix(strings.TrimPrefix(clean, h.strip), "/")
	for _, try := range h.try {
		if code, ok := strings.CutPrefix(try, "="); ok {
			status, _ := strconv.Atoi(code) // it was checked
			http.Error(w, code+" "+strings.ToLower(http.StatusText(status)), status)
			return nil
		}
		if rest, ofPath := strings.CutPrefix(try, "{path}"); ofPath && strings.HasSuffix(clean, "/") && !strings.HasPrefix(rest, "/") {
			continue // a file has no slash at the end
		}
		done, err := h.serveTry(w, r, folder, strings.ReplaceAll(try, "{path}", below), clean, try == "{path}/")
		if done || err != nil {
			return err
		}
	}
	return fs.ErrNotExist
}

// serveTry serves a file, or the index of a folder when the candidate ends with a slash, if it is there. The rules for names hold
// for what the placeholder has made as well.
func (h *files) serveTry(w http.ResponseWriter, r *http.Request, folder *os.Root, candidate, clean string, ofPath bool) (done bool, err error) {
	candidate, ok := cleanPath(candidate)
	if !ok {
		return false, nil
	}
	name, asFolder := strings.Trim(candidate, "/"), strings.HasSuffix(candidate, "/")
	switch {
	case name == "":
		name = "."
	case isHidden(name) || isSource(path.Base(name)):
		return false, nil
	}
	file, info, err := openFile(folder, name)
	if err != nil {
		return false, notThere(err)
	}
	defer file.Close()
	switch {
	case info.IsDir() != asFolder:
		return false, nil
	case !asFolder:
		return true, h.send(w, r, folder, found{file, info, name, ""})
	case ofPath && !strings.HasSuffix(clean, "/") && (h.browse || h.hasIndex(folder, name)):
		redirectToFolder(w, r, clean)
		return true, nil
	}
	err = h.serveFolder(w, r, folder, file, name)
	return err == nil, notThere(err)
}

// hasIndex reports whether a folder has a file that stands for it.
func (h *files) hasIndex(folder *os.Root, name string) bool {
	for _, index := range h.index {
		if info, err := folder.Stat(path.Join(name, index)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// notThere is nil for errors of which the client learns 404 only, and the error otherwise.
func notThere(err error) error {
	if err == nil || !isExhaustion(err) && !errors.Is(err, errTooManyOpen) {
		return nil
	}
	return err
}

// wantsPage reports whether a request that finds no file may be for a page of the application. A script or an image that is gone must
// not be answered with a page: the browser would take it for one.
func wantsPage(r *http.Request, clean string) bool {
	if !strings.Contains(path.Base(clean), ".") {
		return true
	}
	for _, line := range r.Header["Accept"] {
		if strings.Contains(line, "text/html") {
			return true
		}
	}
	return false
}

// servePage serves the application's page.
func (h *files) servePage(w http.ResponseWriter, r *http.Request, folder *os.Root) error {
	file, info, err := openFile(folder, h.spa)
	if err != nil {
		return err
	}
	defer file.Close()
	if info.IsDir() {
		return fs.ErrNotExist
	}
	return h.send(w, r, folder, found{file, info, h.spa, ""})
}
