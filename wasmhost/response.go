package wasmhost

import (
	"bufio"
	"errors"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/edge-server/edge/internal/origin"
)

// errHeldTooLarge is what a handler's Write returns when its answer outgrows limits.body.
var errHeldTooLarge = errors.New("the response is larger than limits.body lets the host hold back for the plugin")

// heldResponse is the answer of the rest of the chain while buffer_response holds it back: handle_response reads and
// changes it, then it is released. It exists only for requests whose guest asked for it, so streams that nobody asked to
// see are not copied. Header is a map of its own: when handle_response fails, nothing of the answer gets out.
type heldResponse struct {
	to       http.ResponseWriter
	header   http.Header
	limit    int
	status   int // 0 until somebody decides
	decided  bool
	body     []byte
	read     int // how far the guest has read
	tooLarge bool
	hijacked bool
	rewrote  bool     // the guest replaced the body: a Content-Length of the handler is not true any more
	cut      []string // the Content-Length of a handler that did not write as much

	pinned *atomic.Int32 // of the instance that waits for it: see Hijack

	before *heldResponse // as it was before the guest came, with on_error: open
}

// keep notes the answer as it is now.
func (h *heldResponse) keep() {
	before := *h
	before.header = h.header.Clone()
	h.before = &before
	h.body = h.body[:len(h.body):len(h.body)] // what the guest writes goes elsewhere: see guestWrite
}

func newHeldResponse(to http.ResponseWriter, limit int) *heldResponse {
	return &heldResponse{to: to, header: to.Header().Clone(), limit: limit}
}

// Unwrap lets http.ResponseController reach what is not held back: deadlines, full duplex.
func (h *heldResponse) Unwrap() http.ResponseWriter { return h.to }

// Header is the header of the answer that is held back.
func (h *heldResponse) Header() http.Header {
	if h.header == nil {
		h.header = http.Header{}
	}
	return h.header
}

// WriteHeader keeps the final status; informational ones are dropped.
func (h *heldResponse) WriteHeader(status int) {
	if !h.decided && status >= 200 {
		h.status, h.decided = status, true
	}
}

// Write keeps p.
func (h *heldResponse) Write(p []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	if h.hijacked {
		return 0, http.ErrHijacked
	}
	if h.tooLarge || len(h.body)+len(p) > h.limit {
		h.tooLarge, h.body = true, nil
		return 0, errHeldTooLarge
	}
	h.body = append(h.body, p...)
	return len(p), nil
}

// Flush does nothing: the guest has asked to see the answer first.
func (h *heldResponse) Flush() { h.WriteHeader(http.StatusOK) }

// Hijack hands the connection over. What the guest would have done to the answer does not happen, as there is none.
func (h *heldResponse) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.to).Hijack()
	if err == nil {
		h.hijacked, h.status, h.decided = true, http.StatusSwitchingProtocols, true
		if h.pinned != nil { // nothing would be lost any more
			h.pinned.CompareAndSwap(holdPinned, holdParked)
		}
	}
	return conn, rw, err
}

// statusCode is what get_status_code answers.
func (h *heldResponse) statusCode() int {
	if h.status == 0 {
		return http.StatusOK
	}
	return h.status
}

// guestWrite replaces the body, or appends to what the guest has written in this phase. It reports false when that would
// be more than the host keeps.
func (h *heldResponse) guestWrite(p []byte, first bool) bool {
	if first {
		h.body, h.read = h.body[:0], 0
		if h.before != nil {
			h.body = nil
		}
	}
	if len(h.body)+len(p) > h.limit {
		return false
	}
	h.rewrote = true
	h.body = append(h.body, p...)
	return true
}

// guestRead reads on in the body.
func (h *heldResponse) guestRead(buf []byte) (n int, ended bool) {
	n = copy(buf, h.body[h.read:])
	h.read += n
	return n, h.read == len(h.body)
}

// release sends the answer.
func (h *heldResponse) release(method string) {
	if h.hijacked {
		return
	}
	h.fixLength(method)
	trailers := h.takeDeclaredTrailers()
	out := h.letGo()
	if h.rewrote && h.statusCode() >= http.StatusBadRequest {
		origin.Mark(h.to) // the guest's own
	}
	h.to.WriteHeader(h.statusCode())
	if len(h.body) > 0 {
		// An error means that the client is gone, or that this status has no body.
		_, _ = h.to.Write(h.body)
	}
	maps.Copy(out, trailers)
}

// letGo gives the header to the real answer.
func (h *heldResponse) letGo() http.Header {
	out := h.to.Header()
	clear(out)
	maps.Copy(out, h.header)
	return out
}

// complete looks at the answer of a handler that has returned. One that is shorter than announced is broken, which the client finds
// by its Content-Length.
func (h *heldResponse) complete(method string) {
	announced := h.header["Content-Length"]
	if len(announced) != 1 || method == http.MethodHead || h.bodyless() {
		return
	}
	if n, err := strconv.ParseInt(announced[0], 10, 64); err == nil && n > int64(len(h.body)) {
		h.cut = announced
	}
}

func (h *heldResponse) bodyless() bool {
	return h.status == http.StatusNoContent || h.status == http.StatusNotModified
}

// fixLength sets Content-Length to that of the body, which is known, whatever handler and guest say.
func (h *heldResponse) fixLength(method string) {
	if method == http.MethodHead || h.bodyless() {
		if h.rewrote || h.bodyless() && len(h.body) > 0 { // the guest's, or of a status that is not the handler's any more
			h.header.Del("Content-Length")
		}
		return
	}
	length := []string{strconv.Itoa(len(h.body))}
	if h.cut != nil && !h.rewrote {
		length = h.cut
	}
	if h.header["Transfer-Encoding"] != nil || h.hasTrailers() && h.cut == nil {
		h.header.Del("Content-Length")
		return
	}
	h.Header()["Content-Length"] = length
}

func (h *heldResponse) hasTrailers() bool {
	if len(h.header["Trailer"]) > 0 {
		return true
	}
	for name := range h.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// takeDeclaredTrailers removes the fields that the Trailer header names: net/http sends those after the body that are set
// after the header went out.
func (h *heldResponse) takeDeclaredTrailers() map[string][]string {
	var trailers map[string][]string
	for _, list := range h.header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := h.header[key]; ok {
				if trailers == nil {
					trailers = map[string][]string{}
				}
				trailers[key] = values
				delete(h.header, key)
			}
		}
	}
	return trailers
}
