package middleware

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/edge-server/edge/internal/urlpath"
)

// files serves a folder. What is not there, not readable, hidden or the source of a program is all the same 404.
//
// The folder is looked up for each request, so that one that a deployment puts in its place is served at once. Everything below it is
// opened through os.Root: a symbolic link may point to another file of the folder but not out of it. The files:
//
//	files.go          from a path to a file; which names are nobody's business
//	files_config.go   what edge.yaml says
//	files_try.go      try_files and the page of applications that route in the browser
//	files_answer.go   how a file is sent: validators, ranges, compressed siblings
//	files_hot.go      small files that need not be opened again
//	files_browse.go   the list of a folder
type files struct {
	root, strip string
	index       []string
	try         []string
	spa         string
	browse      bool
	encodings   []string // of siblings that are looked for
	etag        string
	cache       []CacheRule
	large       chan struct{} // a place for each large file that may be open; nil: no limit
	hot         hotFiles
}

func (h *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	plain := isPlain(r)
	if plain {
		if f := h.hot.find(r.URL.Path); f != nil { // its path is clean: others are not remembered
			f.answer(w, r)
			return
		}
	}
	clean, ok := cleanPath(r.URL.Path)
	if !ok {
		notFound(w)
		return
	}
	name, ok := h.fileName(clean)
	if !ok {
		notFound(w)
		return
	}
	if plain && clean != r.URL.Path {
		if f := h.hot.find(clean); f != nil {
			f.answer(w, r)
			return
		}
	}
	folder, err := os.OpenRoot(h.root)
	if err != nil {
		openFailed(w, err)
		return
	}
	defer folder.Close()
	if len(h.try) > 0 {
		err = h.serveTries(w, r, folder, clean)
	} else {
		err = h.serveName(w, r, folder, clean, name)
	}
	if errors.Is(err, fs.ErrNotExist) && h.spa != "" && wantsPage(r, clean) {
		err = h.servePage(w, r, folder)
	}
	if err != nil {
		openFailed(w, err)
	}
}

// serveName serves the file, or the folder, that the path names. An error means that nothing was sent.
func (h *files) serveName(w http.ResponseWriter, r *http.Request, folder *os.Root, clean, name string) error {
	file, info, err := openFile(folder, name)
	if err != nil {
		return err
	}
	defer file.Close()
	asFolder := strings.HasSuffix(clean, "/")
	switch {
	case info.IsDir() && !asFolder:
		redirectToFolder(w, r, clean)
		return nil
	case info.IsDir():
		return h.serveFolder(w, r, folder, file, name)
	case asFolder && name != ".":
		return fs.ErrNotExist
	}
	return h.send(w, r, folder, found{file, info, name, clean})
}

// serveFolder serves the index of a folder, or lists it.
func (h *files) serveFolder(w http.ResponseWriter, r *http.Request, folder *os.Root, dir *os.File, name string) error {
	for _, index := range h.index {
		index = path.Join(name, index)
		file, info, err := openFile(folder, index)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer file.Close()
		if !info.IsDir() {
			return h.send(w, r, folder, found{file, info, index, ""})
		}
	}
	if h.browse {
		return h.list(w, r, folder, dir, name)
	}
	return fs.ErrNotExist
}

// openFile opens a file or folder below root. Anything else, such as a device, is said not to exist; a pipe without a writer
// does not block.
func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// openFailed says 404, for why a file cannot be had is not the client's business, unless Edge is to blame: a 404 may be cached.
func openFailed(w http.ResponseWriter, err error) {
	if isExhaustion(err) || errors.Is(err, errTooManyOpen) {
		http.Error(w, "503 service unavailable", http.StatusServiceUnavailable)
		return
	}
	notFound(w)
}

// isExhaustion reports whether this process or the system is at a limit.
func isExhaustion(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

func notFound(w http.ResponseWriter) {
	http.Error(w, "404 page not found", http.StatusNotFound)
}

// redirectToFolder adds the slash without which the relative links of an index.html would lead astray. A clean path begins with
// one slash only, so the target cannot be another host.
func redirectToFolder(w http.ResponseWriter, r *http.Request, clean string) {
	to := url.URL{Path: clean + "/", RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusMovedPermanently)
}

// cleanPath resolves dot segments and double slashes as a browser does, and keeps a slash at the end. It reports false for a
// path that climbs above the root or has characters that no file is served by.
func cleanPath(p string) (string, bool) {
	if p == "" || p[0] != '/' {
		return "", false
	}
	for i := range len(p) {
		if p[i] < ' ' || p[i] == 0x7f || p[i] == '\\' {
			return "", false
		}
	}
	return urlpath.Clean(p)
}

// fileName turns a clean path into a name below the root ("." is the root itself), or reports that such a file is not served.
func (h *files) fileName(clean string) (string, bool) {
	rest, ok := strings.CutPrefix(clean, h.strip)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	rest = strings.Trim(rest, "/")
	if rest == "" {
		return ".", true
	}
	if isHidden(rest) || isSource(path.Base(rest)) {
		return "", false
	}
	return rest, true
}

// isHidden reports whether a segment of the path begins with a dot: .env, .git, .htpasswd. Only /.well-known/ is there for
// clients (RFC 8615).
func isHidden(name string) bool {
	name = strings.TrimPrefix(name, ".well-known/")
	return name[0] == '.' || strings.Contains(name, "/.")
}

// Names of files that are not for clients.
var (
	// programExtensions are those of PHP. Wherever they stand in a name, and whatever is appended to them, its text may be a program's:
	// config.php.1, x.php.txt, x.php_bak, x.php-2024, x.php0, "x.php(1)", "x.php,v". Only more letters make it something else: x.phpx.
	programExtensions = []string{
		"php", "php3", "php4", "php5", "php6", "php7", "php8", "phps", "pht", "phtm", "phtml", "phpt", "phar",
	}

	// privateExtensions are what programs read, and copies that editors and patches leave.
	privateExtensions = []string{"inc", "env", "bak", "backup", "old", "orig", "save", "swp", "swo", "swn", "swx", "tmp", "rej"}

	// packedExtensions say how a file was packed; what it is stands before them.
	packedExtensions = []string{"gz", "bz2", "xz", "zst", "zip", "br", "7z"}

	// secretNames are what PHP and shells write without an extension.
	secretNames = []string{"error_log", "access_log", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"}
)

// isSource reports whether the name is that of a program's source, or of a copy or a secret that is not meant for clients.
func isSource(base string) bool {
	if strings.HasSuffix(base, "~") || strings.HasPrefix(base, "#") || endsIn(base, privateExtensions) {
		return true
	}
	name, extensions, _ := strings.Cut(base, ".")
	switch {
	case strings.EqualFold(name, "env") && extensions != "" && !strings.EqualFold(extensions, "js"): // env.local, env.production
		return true
	case oneOf(secretNames, name) && !strings.EqualFold(extensions, "pub"):
		return true
	}
	for extensions != "" {
		var extension string
		extension, extensions, _ = strings.Cut(extensions, ".")
		if isProgram(extension) {
			return true
		}
	}
	return false
}

// isProgram reports whether an extension is that of a program, with whatever behind it but more letters.
func isProgram(extension string) bool {
	extension = strings.TrimLeft(extension, " _")
	n := 0
	for n < len(extension) && isLetter(extension[n]) {
		n++
	}
	return oneOf(programExtensions, extension[:n])
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80 }

// endsIn reports whether a name has one of the extensions at its end, where numbers of copies and how it was packed do not count:
// x.sql, x.log.1, x.log.2.gz.
func endsIn(base string, extensions []string) bool {
	for {
		i := strings.LastIndexByte(base, '.')
		if i < 0 {
			return false
		}
		extension := strings.Trim(base[i+1:], " _")
		if oneOf(extensions, extension) {
			return true
		}
		if !oneOf(packedExtensions, extension) && (extension == "" || strings.Trim(extension, "0123456789-_") != "") {
			return false
		}
		base = base[:i]
	}
}

func oneOf(list []string, s string) bool {
	return slices.ContainsFunc(list, func(e string) bool { return strings.EqualFold(e, s) })
}
