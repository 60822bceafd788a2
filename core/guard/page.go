package guard

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edge-server/edge/internal/origin"
)

// page is a text with places for what is known of a request.
type page struct {
	kind  string   // its Content-Type
	json  bool     // and how what goes into it is written
	html  bool     // so too
	parts []string // text and names in turn
}

// maxPage bounds the pages, which stay in memory.
const maxPage = 1 << 20

// names are what may stand between braces in a page.
var names = []string{"status", "text", "host", "path", "request_id"}

const builtInText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{status} {text}</title>
<style>body{font:1.1rem system-ui,sans-serif;margin:20vh auto;max-width:30rem;padding:0 1rem;text-align:center}h1{font-size:4rem;margin:0}</style>
</head><body><h1>{status}</h1><p>{text}</p></body></html>
`

var (
	builtInPage = newPage("error.html", builtInText)
	builtInJSON = newPage("error.json", `{"type":"about:blank","status":{status},"title":"{text}"}`+"\n")
)

func readPage(path string) (*page, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPage+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPage {
		return nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return newPage(path, string(text)), nil
}

func newPage(path, text string) *page {
	p := &page{kind: "text/plain; charset=utf-8"}
	switch filepath.Ext(path) {
	case ".html", ".htm":
		p.kind, p.html = "text/html; charset=utf-8", true
	case ".json":
		p.kind, p.json = "application/json", true
	}
	for {
		at, name := nextName(text)
		if name == "" {
			p.parts = append(p.parts, text)
			return p
		}
		p.parts = append(p.parts, text[:at], name)
		text = text[at+len(name)+2:]
	}
}

// nextName finds the first {name} of those that there are.
func nextName(text string) (at int, name string) {
	at = len(text)
	for _, one := range names {
		if i := strings.Index(text, "{"+one+"}"); i >= 0 && i < at {
			at, name = i, one
		}
	}
	return at, name
}

// fill is the text for a request.
func (p *page) fill(status int, w http.ResponseWriter, r *http.Request) string {
	var b strings.Builder
	for i, part := range p.parts {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		b.WriteString(p.escape(valueOf(part, status, w, r)))
	}
	return b.String()
}

func valueOf(name string, status int, w http.ResponseWriter, r *http.Request) string {
	switch name {
	case "status":
		return strconv.Itoa(status)
	case "text":
		return statusText(status)
	case "host":
		return r.Host
	case "path":
		return r.URL.Path
	}
	return w.Header().Get("X-Request-Id")
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Error"
}

func (p *page) escape(value string) string {
	switch {
	case p.html:
		return html.EscapeString(value)
	case p.json:
		quoted, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		return string(quoted[1 : len(quoted)-1])
	}
	return value
}

// pageWriter puts a page in the place of an answer.
type pageWriter struct {
	http.ResponseWriter
	pages   *Pages
	request *http.Request

	answered bool // by whatever the route is for
	final    bool // somebody else's page
	headed   bool
	replaced bool // what the handler says goes nowhere
	sent     int64
}

// Answered is told who made the answer.
func (w *pageWriter) Answered(final bool) {
	w.answered = true
	w.final = w.final || final
}

// Replaced is how many bytes went out in place of those that the handler wrote.
func (w *pageWriter) Replaced() (int64, bool) { return w.sent, w.replaced }

// Unwrap lets http.ResponseController reach the rest.
func (w *pageWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the head, or a page.
func (w *pageWriter) WriteHeader(status int) {
	if w.replaced {
		return
	}
	if w.headed || status < 400 || w.final {
		w.headed = w.headed || status >= 200
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.headed = true
	one, json := w.pages.find(w.request, status, w.answered)
	if one == nil {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.replaced = true
	w.show(one, status, json)
}

// ofTheBody are headers that speak of a body that nobody gets.
var ofTheBody = []string{
	"Content-Length", "Content-Encoding", "Content-Language", "Content-Range", "Content-Disposition", "Etag", "Last-Modified", "Accept-Ranges",
	"Trailer", "Transfer-Encoding",
}

func (w *pageWriter) show(one *page, status int, json bool) {
	origin.Settle(w.ResponseWriter)
	header := w.Header()
	length := header["Content-Range"]
	for _, name := range ofTheBody {
		delete(header, name)
	}
	if status == http.StatusRequestedRangeNotSatisfiable && len(length) > 0 {
		header["Content-Range"] = length // it is of what was asked for: */1234 (RFC 9110, section 14.4)
	}
	body := one.fill(status, w.ResponseWriter, w.request)
	header.Set("Content-Type", one.kind)
	if json && one == builtInJSON {
		header.Set("Content-Type", "application/problem+json") // RFC 9457
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Add("Vary", "Accept")
	w.ResponseWriter.WriteHeader(status)
	if w.request.Method != http.MethodHead {
		n, _ := io.WriteString(w.ResponseWriter, body) // an error means that the client has gone
		w.sent = int64(n)
	}
}

// Write passes the body on.
func (w *pageWriter) Write(p []byte) (int, error) {
	if w.replaced {
		return len(p), nil
	}
	w.headed = true
	return w.ResponseWriter.Write(p)
}

// WriteString saves a copy.
func (w *pageWriter) WriteString(s string) (int, error) {
	if w.replaced {
		return len(s), nil
	}
	w.headed = true
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom keeps the short ways of the server.
func (w *pageWriter) ReadFrom(src io.Reader) (int64, error) {
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok && !w.replaced {
		w.headed = true
		return to.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// FlushError sends what there is.
func (w *pageWriter) FlushError() error {
	if w.replaced {
		return nil
	}
	w.headed = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is FlushError.
func (w *pageWriter) Flush() { _ = w.FlushError() }

var errReplaced = errors.New("the request was answered with an error page")

// Hijack takes the connection over.
func (w *pageWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.replaced {
		return nil, nil, errReplaced
	}
	w.headed = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
