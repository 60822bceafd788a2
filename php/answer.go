package php

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/edge-server/edge/internal/origin"
)

// writeAnswer sends an answer that came in one frame. Its length is known, so head and body leave in one write.
func (p *Pool) writeAnswer(w http.ResponseWriter, r *http.Request, j *job) error {
	h := &j.decoded
	if err := h.read(j.head); err != nil {
		return err
	}
	if informational(h.status) {
		sendInformational(w, r, h)
		return nil
	}
	if p.cfg.Sendfile.on() {
		if done, err := p.passFile(w, r, h, j.pid); done {
			return err
		}
	}
	late := sendHead(w, r, h, j.answerSize())
	if j.answerSize() > 0 && allowsBody(r, h.status) {
		j.writeBody(w)
	}
	late.send(w)
	return nil
}

// headerPush names what a client of HTTP/2 will need next.
const headerPush = "Http2-Push"

// sendHead sends status and headers of a body of that length, or of unknown length when it is negative. It returns the
// headers that PHP wants sent behind the body.
func sendHead(w http.ResponseWriter, r *http.Request, h *head, length int64) trailers {
	late := h.takeTrailers()
	// PHP's own Content-Length is believed when there is no body to measure.
	bodyless := !allowsBody(r, h.status)
	dst := w.Header()
	h.addTo(dst, bodyless || length < 0)
	if len(late.names) > 0 {
		dst["Trailer"] = late.names
		delete(dst, "Content-Length") // trailers need a chunked body
	} else if length >= 0 && !bodyless || length > 0 && r.Method == http.MethodHead && !h.has("Content-Length") {
		dst["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if targets := dst[headerPush]; targets != nil && r.ProtoMajor == 2 {
		push(w, targets)
	}
	if h.status == 0 {
		h.status = http.StatusOK
	}
	if h.status >= http.StatusBadRequest {
		origin.Mark(w) // PHP's own
	}
	w.WriteHeader(h.status)
	return late
}

// allowsBody reports whether an answer may have a body: one to HEAD, 204 and 304 have none.
func allowsBody(r *http.Request, status int) bool {
	return r.Method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified
}

func informational(status int) bool { return status >= 100 && status < 200 }

// sendInformational sends early hints and the like. Their headers do not become part of the final answer. Whether the protocol is
// switched is for the server to say, and HTTP/1.0 has no such answers: its clients would take the hints for the answer.
func sendInformational(w http.ResponseWriter, r *http.Request, h *head) {
	if h.status == http.StatusSwitchingProtocols || !r.ProtoAtLeast(1, 1) {
		return
	}
	dst := w.Header()
	final := maps.Clone(dst)
	clear(dst)
	h.addTo(dst, false)
	w.WriteHeader(h.status)
	clear(dst)
	maps.Copy(dst, final)
}

// push offers what PHP names in Http2-Push to clients that still take it.
func push(w http.ResponseWriter, targets []string) {
	for {
		if pusher, ok := w.(http.Pusher); ok {
			for _, target := range targets {
				_ = pusher.Push(target, nil) // the client will ask for what it needs
			}
			return
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = wrapper.Unwrap()
	}
}

// trailers are headers that go behind the body.
type trailers struct {
	names  []string
	fields []headField
}

// takeTrailers removes the fields that the Trailer header names from the head.
func (h *head) takeTrailers() trailers {
	names, announced := h.trailers()
	if !announced {
		return trailers{}
	}
	late := trailers{names: names}
	rest := h.fields[:0]
	for _, f := range h.fields {
		if contains(names, f.name) {
			late.fields = append(late.fields, f)
		} else {
			rest = append(rest, f)
		}
	}
	h.fields = rest
	return late
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// send puts the trailers where the server looks for them after the body.
func (t trailers) send(w http.ResponseWriter) {
	for _, f := range t.fields {
		w.Header().Add(f.name, f.value)
	}
}

// passStream sends an answer that comes in parts, each as soon as it is there. After the head, a failure can only be told by
// breaking off: http.ErrAbortHandler closes the connection or resets the stream, so that no client takes a part for the whole.
func (p *Pool) passStream(w http.ResponseWriter, r *http.Request, j *job) error {
	s := streamWriter{pool: p, w: w, r: r, control: http.NewResponseController(w), stream: j.stream, head: &j.decoded}
	defer s.close()
	err := s.run(r.Context())
	switch {
	case err == nil:
		return nil
	case !s.headSent:
		return err
	case errors.Is(err, errClientGone):
		return nil
	}
	p.log.Warn("php broke off a streamed answer", "pool", p.name, "pid", j.stream.pid, "error", err)
	panic(http.ErrAbortHandler)
}

type streamWriter struct {
	pool     *Pool
	w        http.ResponseWriter
	r        *http.Request
	control  *http.ResponseController
	stream   *stream
	head     *head
	late     trailers
	headSent bool
	over     bool // the worker sent its last part
}

// close releases the worker from a stream that was not taken to its end, for whatever reason.
func (s *streamWriter) close() {
	if !s.over {
		s.stream.cancel()
	}
}

// run passes parts on until PHP ends the stream, or the client does.
func (s *streamWriter) run(ctx context.Context) error {
	for {
		select {
		case c, more := <-s.stream.chunks:
			if !more {
				s.over = true
				return s.end()
			}
			err := s.write(c)
			putBuffer(c.buf)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return errClientGone
		}
	}
}

// end finishes the answer after the last part.
func (s *streamWriter) end() error {
	if s.stream.err != nil {
		return s.stream.err
	}
	if !s.headSent {
		s.head.status, s.head.fields = 0, s.head.fields[:0]
		s.sendHead()
	}
	s.late.send(s.w)
	return nil
}

// write sends one part. Only the first head of a final answer counts; PHP repeats it with every part.
func (s *streamWriter) write(c chunk) error {
	if !s.headSent {
		if err := s.head.read(c.head); err != nil {
			return err
		}
		if informational(s.head.status) {
			sendInformational(s.w, s.r, s.head)
			return nil
		}
		if s.pool.cfg.Sendfile.on() {
			done, err := s.pool.passFile(s.w, s.r, s.head, s.stream.pid)
			switch {
			case err != nil:
				return err
			case done:
				s.headSent = true
				return errClientGone // nobody gets what PHP streams beside the file
			}
		}
		s.sendHead()
	}
	if !allowsBody(s.r, s.head.status) {
		return errClientGone // nobody gets the rest
	}
	if limit := s.pool.cfg.ExecTimeout; limit > 0 {
		// A client that takes nothing must not hold a worker for ever. Not every server supports it, and none needs it to work.
		_ = s.control.SetWriteDeadline(time.Now().Add(limit))
	}
	if len(c.body) > 0 {
		if _, err := s.w.Write(c.body); err != nil {
			return errClientGone
		}
	}
	if s.stream.length >= 0 || len(s.stream.chunks) > 0 {
		return nil // more is at hand, or the whole has a length and nobody waits for a part
	}
	if err := s.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errClientGone
	}
	return nil
}

func (s *streamWriter) sendHead() {
	s.headSent = true
	s.late = sendHead(s.w, s.r, s.head, s.stream.length)
}
