package httpcache

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/httprange"
)

// tagHeaders are where targets write tags.
var tagHeaders = [...]string{"Cache-Tag", "Surrogate-Key"}

// answer writes a stored answer. ttl stands behind what Cache-Status says.
func (x *exchange) answer(e *entry, now time.Time, said string, ttl int64) {
	h := x.w.Header()
	list := e.addTo(h)
	if !x.c.cfg.KeepTags { // the store keeps them, for the next time that the target says that nothing has changed
		for _, name := range tagHeaders {
			delete(h, name)
		}
	}
	list = set(h, list, "Age", strconv.FormatInt(e.age(now)/1000, 10)) // RFC 9111, section 5.1
	if x.c.cfg.CacheStatus {
		text := x.c.name + said + strconv.FormatInt(ttl, 10)
		if before := h["Cache-Status"]; len(before) > 0 {
			h["Cache-Status"] = append(before, text)
		} else {
			list = set(h, list, "Cache-Status", text)
		}
	}
	if e.status >= http.StatusBadRequest {
		e.sign(x.w)
	}
	x.body(h, list, e.status, e.body)
}

// body writes status and body as the request wants them: whole, in part, without the body, or only that nothing has changed.
// list has room for a value.
func (x *exchange) body(h http.Header, list []string, status int, body []byte) {
	if status == http.StatusOK {
		if notModified(x.r.Header, h) {
			for _, name := range [...]string{"Content-Type", "Content-Length", "Content-Encoding"} {
				delete(h, name)
			}
			x.w.WriteHeader(http.StatusNotModified)
			return
		}
		if r := httprange.Request(x.r); len(r.Header["Range"]) > 0 {
			x.part(r, h, body)
			return
		}
	}
	if status != http.StatusNoContent {
		set(h, list, "Content-Length", strconv.Itoa(len(body)))
	}
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead && len(body) > 0 {
		x.w.Write(body)
	}
}

// part answers a request for a range of a whole body (RFC 9110, section 14): net/http knows If-Range and several ranges.
func (x *exchange) part(r *http.Request, h http.Header, body []byte) {
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		modified = time.Time{}
	}
	plain := *r
	plain.Header = http.Header{"Range": r.Header["Range"]}
	if values := r.Header["If-Range"]; len(values) > 0 {
		plain.Header["If-Range"] = values
	}
	http.ServeContent(x.w, &plain, "", modified, bytes.NewReader(body))
}

// notModified compares what the client has with the answer (RFC 9110, section 13.2.2).
func notModified(request, answer http.Header) bool {
	if lines := request["If-None-Match"]; len(lines) > 0 {
		return lists(lines, answer.Get("Etag"))
	}
	lines := request["If-Modified-Since"]
	if len(lines) != 1 {
		return false
	}
	since, err1 := http.ParseTime(lines[0])
	modified, err2 := http.ParseTime(answer.Get("Last-Modified"))
	return err1 == nil && err2 == nil && !modified.After(since)
}

// lists reports whether a list of entity tags has one like tag, by weak comparison (RFC 9110, sections 8.8.3.2 and 13.1.2).
func lists(lines []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range lines {
		if trim(line) == "*" {
			return true
		}
		for line != "" && tag != "" {
			line = strings.TrimLeft(line, " \t,")
			rest := strings.TrimPrefix(line, "W/")
			if rest == "" || rest[0] != '"' {
				break
			}
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				break
			}
			if rest[:end+2] == tag {
				return true
			}
			line = rest[end+2:]
		}
	}
	return false
}
