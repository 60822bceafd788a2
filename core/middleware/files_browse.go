package middleware

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// maxListed is how many entries of a folder are read for its list.
const maxListed = 10_000

// listing is what the page of a folder shows.
type listing struct {
	Path    string
	Parent  bool
	Entries []entry
	Cut     bool
}

type entry struct {
	Name, Link, Size, Modified string
	folder                     bool
}

const listHead = `<!doctype html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%s</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}table{width:100%%;border-collapse:collapse}
td{padding:.2em .5em;border-bottom:1px solid #8884}td+td{text-align:right;white-space:nowrap;color:#888}a{text-decoration:none}</style></head>
<body><h1>%[1]s</h1><table>
`

// writeTo writes the page; an error is the client's going. (A template would keep the linker from dropping any method of the program.)
func (l *listing) writeTo(w io.Writer) {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, listHead, html.EscapeString(l.Path))
	if l.Parent {
		out.WriteString("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n")
	}
	for _, e := range l.Entries {
		fmt.Fprintf(out, "<tr><td><a href=\"%s\">%s</a></td><td>%s</td><td>%s</td></tr>\n",
			html.EscapeString(e.Link), html.EscapeString(e.Name), e.Size, e.Modified)
	}
	out.WriteString("</table>")
	if l.Cut {
		out.WriteString("<p>There is more than is shown here.</p>")
	}
	out.WriteString("</body></html>\n")
	_ = out.Flush()
}

// list answers with what a client may see of a folder: what it could ask for.
func (h *files) list(w http.ResponseWriter, r *http.Request, folder *os.Root, dir *os.File, name string) error {
	all, err := dir.ReadDir(maxListed + 1)
	if err != nil && len(all) == 0 {
		all = nil // it is empty, or was removed
	}
	page := listing{Path: r.URL.Path, Parent: name != ".", Cut: len(all) > maxListed}
	for _, e := range all[:min(len(all), maxListed)] {
		if shown, ok := listed(folder, name, e); ok {
			page.Entries = append(page.Entries, shown)
		}
	}
	slices.SortFunc(page.Entries, func(a, b entry) int {
		switch {
		case a.folder == b.folder:
			return cmp.Compare(a.Name, b.Name)
		case a.folder:
			return -1
		}
		return 1
	})
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-cache")
	if r.Method == http.MethodHead {
		return nil
	}
	page.writeTo(w)
	return nil
}

// listed is the line of an entry. Symbolic links count as what they lead to, if that lies in the folder.
func listed(folder *os.Root, dir string, e fs.DirEntry) (entry, bool) {
	name := e.Name()
	if name[0] == '.' || isSource(name) {
		return entry{}, false
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f || name[i] == '\\' {
			return entry{}, false // no path of a request leads there
		}
	}
	info, err := folder.Stat(path.Join(dir, name))
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return entry{}, false
	}
	shown := entry{Name: name, Modified: info.ModTime().UTC().Format(time.DateTime), folder: info.IsDir()}
	if shown.folder {
		shown.Name += "/"
	} else {
		shown.Size = size(info.Size())
	}
	// With ./ before it, a name with a colon is no scheme.
	shown.Link = "./" + strings.TrimPrefix((&url.URL{Path: "./" + shown.Name}).EscapedPath(), "./")
	return shown, true
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 1<<10 && unit < len("KMGTPE") {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit-1])
}
