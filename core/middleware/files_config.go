package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// FilesConfig is the target files of a route: a folder whose files are served.
type FilesConfig struct {
	// Root is the folder. A relative path is taken from the folder of edge.yaml. It has no default.
	Root string `koanf:"root"`

	// Strip is taken off the beginning of the request's path before a file is looked for: with /docs, the request /docs/a.txt is
	// for the file a.txt of the folder. Default none.
	Strip string `koanf:"strip"`

	// Index are the names of files that stand for their folder; the first that is there is served. Default [index.html].
	Index []string `koanf:"index"`

	// TryFiles are looked for in this order, and the first that is there is served. {path} is the path of the request without
	// Strip; what ends with a slash is a folder with an index; =404 ends the list with a status. Default: the path itself.
	TryFiles []string `koanf:"try_files"`

	// SPA is the file, such as index.html, that is served for pages that are not there: the application finds its page in the
	// browser. What looks like a file, with an extension, and is not asked for as a page, stays 404. Default none.
	SPA string `koanf:"spa"`

	// Browse lists folders that have no index. Default false.
	Browse bool `koanf:"browse"`

	// Precompressed are the encodings, of zstd, br and gzip, in which files may lie beside the plain ones: a.js.zst, a.js.br,
	// a.js.gz. One that is older than the plain file is not served. Default none.
	Precompressed []string `koanf:"precompressed"`

	// ETag says whether the validators of files are strong, weak or none. Default strong.
	ETag string `koanf:"etag"`

	// Cache has the Cache-Control of files by name; the first that matches counts. Default none.
	Cache []CacheRule `koanf:"cache"`

	// OpenFiles is how many large files may be open at a time, each by a client that reads it, else 503. Small ones are read at
	// once. 0 is no limit. Default 4096.
	OpenFiles int `koanf:"open_files"`
}

// CacheRule is the Cache-Control of some files.
type CacheRule struct {
	// Match is a pattern for the name of a file, as *.css, or for its path below the folder, as /assets/*, where * at the end is
	// everything below. Default none.
	Match string `koanf:"match"`

	// Control is the header's text, such as "public, max-age=31536000, immutable". Default none.
	Control string `koanf:"control"`
}

// siblings are the endings of files that are compressed already.
var siblings = map[string]string{"zstd": ".zst", "br": ".br", "gzip": ".gz"}

// Defaults is where decoding of a present files section starts.
func (FilesConfig) Defaults() any {
	return FilesConfig{Index: []string{"index.html"}, ETag: "strong", OpenFiles: 4096}
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
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Root == "" {
		report("root: must name the folder with the files, such as public")
	}
	if c.Strip != "" && (c.Strip[0] != '/' || path.Clean(c.Strip) != strings.TrimSuffix(c.Strip, "/") && c.Strip != "/") {
		report("strip: %q must be a path such as /docs, without dot segments or double slashes", c.Strip)
	}
	for i, name := range c.Index {
		if name == "" || strings.Contains(name, "/") || isHidden(name) || isSource(name) {
			report("index[%d]: %q must be the name of a file that may be served, such as index.html; scripts are for a php target", i, name)
		}
	}
	for i, try := range c.TryFiles {
		if problem := tryProblem(try, i == len(c.TryFiles)-1); problem != "" {
			report("try_files[%d]: %q %s", i, try, problem)
		}
	}
	if c.SPA != "" && (!filepath.IsLocal(c.SPA) || isHidden(c.SPA) || isSource(path.Base(c.SPA))) {
		report("spa: %q must be a file of the folder that may be served, such as index.html", c.SPA)
	}
	for i, name := range c.Precompressed {
		if siblings[name] == "" || slices.Index(c.Precompressed, name) < i {
			report("precompressed[%d]: %q: write zstd, br or gzip, each once", i, name)
		}
	}
	if !slices.Contains([]string{"", "strong", "weak", "none"}, c.ETag) {
		report("etag: %q: write strong, weak or none", c.ETag)
	}
	for i, rule := range c.Cache {
		if _, err := path.Match(rule.Match, ""); err != nil || rule.Match == "" || strings.Contains(rule.Match[1:], "/") && rule.Match[0] != '/' {
			report("cache[%d].match: %q must be a pattern for names, such as *.css, or for paths, such as /assets/*", i, rule.Match)
		}
		if rule.Control == "" || !httpguts.ValidHeaderFieldValue(rule.Control) {
			report("cache[%d].control: %q must be the text of a Cache-Control header, such as \"public, max-age=3600\"", i, rule.Control)
		}
	}
	if c.OpenFiles < 0 {
		report("open_files: must not be negative, got %d", c.OpenFiles)
	}
	return errors.Join(errs...)
}

// tryProblem says what is wrong with an entry of try_files, or "".
func tryProblem(try string, last bool) string {
	if code, ok := strings.CutPrefix(try, "="); ok {
		status, err := strconv.Atoi(code)
		switch {
		case err != nil || status < 400 || status > 599 || http.StatusText(status) == "":
			return "must be a status of an error, such as =404"
		case !last:
			return "must be the last one: nothing behind it is tried"
		}
		return ""
	}
	plain := strings.ReplaceAll(try, "{path}", "/x")
	if plain == "" || plain[0] != '/' || strings.ContainsAny(plain, "{}\\\x00") || path.Clean(plain) != strings.TrimSuffix(plain, "/") && plain != "/" {
		return "must be {path}, something around it such as {path}.html, or a path such as /index.html"
	}
	if name := strings.Trim(plain, "/"); name != "" && (isHidden(name) || isSource(path.Base(name))) {
		return "is never served; scripts are for a php target"
	}
	return ""
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
	h := &files{
		root: root, strip: strings.TrimSuffix(cfg.Strip, "/"), index: cfg.Index, try: cfg.TryFiles, spa: cfg.SPA, browse: cfg.Browse,
		encodings: cfg.Precompressed, etag: cfg.ETag, cache: cfg.Cache,
		hot: hotFiles{age: hotAge},
	}
	if h.index == nil {
		h.index = []string{"index.html"}
	}
	if cfg.OpenFiles > 0 {
		h.large = make(chan struct{}, cfg.OpenFiles)
	}
	return h, nil
}

// cacheControl is the header for a file of this name below the folder, or "".
func (h *files) cacheControl(name string) string {
	for i := range h.cache {
		if rule := &h.cache[i]; rule.fits(name) {
			return rule.Control
		}
	}
	return ""
}

func (c *CacheRule) fits(name string) bool {
	pattern, whole := strings.CutPrefix(c.Match, "/")
	if !whole {
		name = path.Base(name)
	} else if below, all := strings.CutSuffix(pattern, "*"); all && (below == "" || strings.HasSuffix(below, "/")) && !strings.ContainsAny(below, "*?[\\") {
		return strings.HasPrefix(name, below)
	}
	fits, _ := path.Match(pattern, name) // the pattern was checked
	return fits
}
