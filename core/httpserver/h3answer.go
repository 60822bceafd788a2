package httpserver

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// h3Answer sends the answer to a request of HTTP/3. quic-go writes the head, the frame header of the body, the body and the end one by one, each
// of which locks the stream and wakes the connection. What a handler has finished before it has grown large goes out here in one write.
// The others, such as those that are flushed and those with trailers, are quic-go's from the moment when that shows.
type h3Answer struct {
	http.ResponseWriter // quic-go's

	passed bool    // to quic-go
	isHead bool    // the body is counted, not kept
	status int     // 0: none yet
	length int64   // that the handler has announced; -1: none
	came   int64   // bytes of the body
	body   *[]byte // of h3Buffers; nil: nothing is kept
}

// h3Stream is a stream and its answer in one allocation.
type h3Stream struct {
	stream
	answer h3Answer
}

// h3Small is how large a body may be that is kept, as much as quic-go keeps.
const h3Small = unflushed - 1

// h3Buffers are for bodies, and for answers as they go out.
var h3Buffers = sync.Pool{New: func() any { return new(make([]byte, 0, unflushed+1<<10)) }}

func giveBack(b *[]byte) {
	if b != nil && cap(*b) <= 4*unflushed {
		*b = (*b)[:0]
		h3Buffers.Put(b)
	}
}

// WriteHeader keeps the status.
func (a *h3Answer) WriteHeader(status int) {
	switch {
	case a.passed, status < http.StatusOK, status > 999: // informational answers go at once; quic-go panics about what is no status
		a.ResponseWriter.WriteHeader(status)
	case a.status == 0:
		a.status, a.length = status, -1
		if values := a.Header()["Content-Length"]; len(values) > 0 && values[0] != "" {
			length, err := strconv.ParseUint(values[0], 10, 63)
			if err != nil {
				_ = a.pass() // it logs and drops such a length; nothing is written yet
				return
			}
			a.length = int64(length)
		}
	}
}

// begins reports whether size bytes more of the body may be kept.
func (a *h3Answer) begins(size int, start func() []byte) error {
	if a.status == 0 && !a.passed {
		a.sniff(start())
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.passed:
		return nil
	case !bodyAllowed(a.status):
		return http.ErrBodyNotAllowed
	case a.length >= 0 && a.came+int64(size) > a.length:
		return http.ErrContentLength
	case !a.isHead && a.came+int64(size) > h3Small:
		return a.pass()
	}
	a.came += int64(size)
	if a.body == nil && !a.isHead {
		a.body = h3Buffers.Get().(*[]byte)
	}
	return nil
}

// Write keeps p while the answer is small.
func (a *h3Answer) Write(p []byte) (int, error) {
	if err := a.begins(len(p), func() []byte { return p }); err != nil {
		return 0, err
	}
	if a.passed {
		return a.ResponseWriter.Write(p)
	}
	if !a.isHead {
		*a.body = append(*a.body, p...)
	}
	return len(p), nil
}

// WriteString is Write without a copy of its own.
func (a *h3Answer) WriteString(text string) (int, error) {
	if err := a.begins(len(text), func() []byte { return []byte(text) }); err != nil {
		return 0, err
	}
	if a.passed {
		return a.ResponseWriter.Write([]byte(text))
	}
	if !a.isHead {
		*a.body = append(*a.body, text...)
	}
	return len(text), nil
}

// sniff names the type of a body that has none, as net/http does.
func (a *h3Answer) sniff(start []byte) {
	header := a.Header()
	if _, named := header["Content-Type"]; !named && len(start) > 0 && header.Get("Content-Encoding") == "" {
		header.Set("Content-Type", http.DetectContentType(start))
	}
}

// bodyAllowed reports whether an answer with this status may have a body.
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// pass hands over to quic-go what has come so far.
func (a *h3Answer) pass() error {
	a.passed = true
	if a.status != 0 {
		a.ResponseWriter.WriteHeader(a.status)
	}
	if a.body == nil {
		return nil
	}
	_, err := a.ResponseWriter.Write(*a.body)
	giveBack(a.body)
	a.body = nil
	return err
}

// FlushError sends what there is, and ends the wait for more.
func (a *h3Answer) FlushError() error {
	if !a.passed {
		if err := a.pass(); err != nil {
			return err
		}
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController set deadlines.
func (a *h3Answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// end is called when the handler has returned. What is not sent then, quic-go sends.
func (a *h3Answer) end() {
	if a.passed {
		return
	}
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	streamer, ok := a.ResponseWriter.(http3.HTTPStreamer)
	if a.passed || !ok {
		return
	}
	header := a.Header()
	if _, there := header["Content-Length"]; !there && bodyAllowed(a.status) {
		header["Content-Length"] = []string{strconv.FormatInt(a.came, 10)}
	}
	out := h3Buffers.Get().(*[]byte)
	if *out, ok = appendH3Head((*out)[:0], a.status, header); !ok {
		giveBack(out)
		_ = a.pass() // an error is the client's going, which quic-go sees too
		return
	}
	str, err := streamer.HTTPStream() // nothing is written yet
	if err != nil {
		giveBack(out)
		return
	}
	if a.body != nil && len(*a.body) > 0 {
		*out = append(appendVarint2(append(*out, h3Data), len(*a.body)), *a.body...)
	}
	giveBack(a.body)
	a.body = nil
	_, err = str.QUICStream().Write(*out)
	giveBack(out)
	if err != nil {
		str.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		str.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		return
	}
	_ = str.Close()                                            // at once, so that the end goes with the data
	str.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError)) // nothing happens when all was read
}
