package middleware

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/edge-server/edge/internal/urlpath"
)

// FilesConfig is the target files of a route: a folder whose files are served.
type FilesConfig struct {
	// Root is the folder. A relative path is taken from the folder of edge.yaml. It has no default.
	Root string `koanf:"root"`

	// Strip is taken off the beginning of the request's path before a file is looked for: with /docs, the request /docs/a.txt is
	// for the file a.txt of the folder. Default none.
	Strip string `koanf:"strip"`
}

// UnmarshalConfig accepts the short form, the folder as a text.
func (c *FilesConfig) UnmarshalConfig(v any) error {
	text, ok := v.(string)
	if !ok {
		return errors.New("write a folder, or {root: folder, strip: /prefix}")
	}
	c.Root = text
	return nil
}

// Validate checks the texts; NewFiles looks at the folder.
func (c FilesConfig) Validate() error {
	var errs []error
	if c.Root == "" {
		errs = append(errs, errors.New("root: must name the folder with the files, such as public"))
	}
	if c.Strip != "" && (c.Strip[0] != '/' || path.Clean(c.Strip) != strings.TrimSuffix(c.Strip, "/") && c.Strip != "/") {
		errs = append(errs, fmt.Errorf("strip: %q must be a path such as /docs, without dot segments or double slashes", c.Strip))
	}
	return errors.Join(errs...)
}

// files serves a folder. What is not there, not readable, hidden or the source of a program is all the same 404.
//
// The folder is opened for each request, so that one that a deployment puts in its place is served at once. Everything below it is
// opened through os.Root: a symbolic link may point to another file of the folder but not out of it.
type files struct {
	root  string
	strip string
}

// NewFiles returns the handler of the folder, which must exist.
func NewFiles(cfg FilesConfig) (http.Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("files.%w", err)
	}
	// A later change of the working folder must not change what is served.
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("files.root: %w", err)
	}
	folder, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("files.root: %w", err)
	}
	defer folder.Close()
	return &files{root: root, strip: strings.TrimSuffix(cfg.Strip, "/")}, nil
}

func (h *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
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
	folder, err := os.OpenRoot(h.root)
	if err != nil {
		openFailed(w, err)
		return
	}
	defer folder.Close()
	file, info, err := openFile(folder, name)
	if err != nil {
		openFailed(w, err)
		return
	}
	defer file.Close()

	wantsFolder := strings.HasSuffix(clean, "/") && name != "."
	switch {
	case info.IsDir() && !strings.HasSuffix(clean, "/"):
		redirectToFolder(w, r, clean)
	case info.IsDir():
		h.serveIndex(w, r, folder, name)
	case wantsFolder:
		notFound(w)
	default:
		serveFile(w, r, file, info)
	}
}

// serveIndex serves the index.html of a folder. Folders are not listed.
func (h *files) serveIndex(w http.ResponseWriter, r *http.Request, folder *os.Root, name string) {
	file, info, err := openFile(folder, path.Join(name, "index.html"))
	if err != nil {
		openFailed(w, err)
		return
	}
	defer file.Close()
	if info.IsDir() {
		notFound(w)
		return
	}
	serveFile(w, r, file, info)
}

// serveFile answers with the file, a range of it, or 304.
func serveFile(w http.ResponseWriter, r *http.Request, file *os.File, info fs.FileInfo) {
	header := w.Header()
	header.Set("Etag", etag(info))
	header.Set("X-Content-Type-Options", "nosniff") // a browser must not take an uploaded text for a script
	http.ServeContent(w, r, info.Name(), info.ModTime(), file)
}

// etag is strong: it changes with every nanosecond and byte that the file system tells apart.
func etag(info fs.FileInfo) string {
	tag := make([]byte, 0, 40)
	tag = append(tag, '"')
	tag = strconv.AppendInt(tag, info.ModTime().UnixNano(), 36)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, info.Size(), 36)
	return string(append(tag, '"'))
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
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) {
		http.Error(w, "503 service unavailable", http.StatusServiceUnavailable)
		return
	}
	notFound(w)
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

// Extensions of files that are not for clients.
var (
	// programExtensions are those of PHP. Wherever they stand in a name, its text may be a program's: config.php.1, x.php.txt.
	programExtensions = []string{
		"php", "php3", "php4", "php5", "php6", "php7", "php8", "phps", "pht", "phtm", "phtml", "phpt", "phar",
	}

	// privateExtensions count at the end of a name: what programs read, and copies that editors and patches leave.
	privateExtensions = []string{"inc", "env", "bak", "backup", "old", "orig", "save", "swp", "swo", "swn", "swx", "tmp", "rej"}
)

// isSource reports whether the name is that of a program's source or of a copy that is not meant for clients.
func isSource(base string) bool {
	if strings.HasSuffix(base, "~") || strings.HasPrefix(base, "#") {
		return true
	}
	_, extensions, _ := strings.Cut(base, ".")
	for extensions != "" {
		var extension string
		extension, extensions, _ = strings.Cut(extensions, ".")
		same := func(e string) bool { return strings.EqualFold(e, strings.Trim(extension, " _")) }
		if slices.ContainsFunc(programExtensions, same) || extensions == "" && slices.ContainsFunc(privateExtensions, same) {
			return true
		}
	}
	return false
}
