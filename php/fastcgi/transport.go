package fastcgi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Transport is an http.RoundTripper for a FastCGI server that somebody else runs, on a connection per request. The scripts are where
// the server is: nothing is known of them here, so a path is for the first part of it that ends with .php, or else for the index.
type Transport struct {
	Dial   func(context.Context) (net.Conn, error)
	Root   string        // of the scripts, as the server sees it
	Index  string        // the script for paths that name none
	Header time.Duration // limit for the head of the answer, from the end of the request on; 0 is none
	Logger *slog.Logger  // of what scripts say on stderr

	// Params are told to scripts beside those of the request, such as REMOTE_USER. Nil: there are none.
	Params func(r *http.Request, add func(name, value string))
}

var (
	// ErrNoLength means a body that is too large to be read before its length is told, as FastCGI wants it.
	ErrNoLength = errors.New("a body without a length is too large for FastCGI")
	// ErrBusy means that the server refuses the request.
	ErrBusy = errors.New("the FastCGI server refuses the request")
)

const (
	maxUnknown = 1 << 20 // of a body whose length is not known
	maxHead    = 256 << 10
	maxStderr  = 4 << 10 // that is logged of a request
	requestID  = 1
)

// RoundTrip sends the request. RemoteAddr, TLS and Proto are told to the script as they stand in it.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, length, err := measured(r)
	if err != nil {
		return nil, err
	}
	params, err := t.params(r, length)
	if err != nil {
		return nil, err
	}
	conn, err := t.Dial(r.Context())
	if err != nil {
		return nil, err
	}
	a := &answerReader{conn: conn, reader: NewReader(conn), log: t.Logger}
	a.reader.Expect(requestID)
	a.stop = context.AfterFunc(r.Context(), func() { conn.Close() })
	go func() { // ends with the connection, or with the client's body when that is waited for
		t.send(conn, params, body)
		if t.Header > 0 {
			a.await(t.Header)
		}
	}()
	res, err := a.head(r)
	if err != nil {
		a.Close()
		if r.Context().Err() != nil {
			err = context.Cause(r.Context())
		}
		return nil, err
	}
	a.await(0)
	return res, nil
}

// measured returns the body with its length.
func measured(r *http.Request) (io.Reader, int64, error) {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return nil, 0, nil
	case r.ContentLength >= 0:
		return r.Body, r.ContentLength, nil
	}
	all, err := io.ReadAll(io.LimitReader(r.Body, maxUnknown+1))
	if err == nil && len(all) > maxUnknown {
		err = ErrNoLength
	}
	return bytes.NewReader(all), int64(len(all)), err
}

// send writes the request. What goes wrong shows when the answer is read, which may have come nevertheless.
func (t *Transport) send(conn net.Conn, params []byte, body io.Reader) {
	if _, err := conn.Write(params); err != nil {
		return
	}
	buf := make([]byte, HeaderLen+16<<10)
	for body != nil {
		n, err := body.Read(buf[HeaderLen:])
		if n > 0 {
			AppendHeader(buf[:0], Stdin, requestID, n)
			if _, err := conn.Write(buf[:HeaderLen+n]); err != nil {
				return
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			conn.Close() // half a body must not look whole
			return
		}
	}
	_, _ = conn.Write(AppendHeader(nil, Stdin, requestID, 0))
}

// script splits a path into the script and what follows it.
func (t *Transport) script(p string) (name, info string) {
	p = path.Clean("/"+p) + trailing(p)
	for from := 0; ; {
		i := strings.Index(p[from:], ".php")
		if i < 0 {
			break
		}
		from += i + len(".php")
		if from == len(p) || p[from] == '/' {
			return p[:from], p[from:]
		}
	}
	if strings.HasSuffix(p, "/") {
		return p + t.Index, "" // the server says 404 when the folder has none
	}
	return "/" + t.Index, ""
}

func trailing(p string) string {
	if len(p) > 1 && strings.HasSuffix(p, "/") {
		return "/"
	}
	return ""
}

func (t *Transport) params(r *http.Request, length int64) ([]byte, error) {
	name, info := t.script(r.URL.Path)
	for segment := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(segment, ".") || strings.ContainsRune(segment, 0) {
			name, info = "/"+t.Index, "" // nothing hidden is a script
		}
	}
	w := NewParamWriter(AppendBegin(nil, requestID), requestID)
	w.Add("SCRIPT_FILENAME", path.Join(t.Root, name))
	w.Add("SCRIPT_NAME", name)
	if info != "" {
		w.Add("PATH_INFO", info)
	}
	w.Add("DOCUMENT_ROOT", t.Root)
	w.Add("DOCUMENT_URI", name+info)
	w.Add("REQUEST_METHOD", r.Method)
	uri := (&url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}).RequestURI()
	w.Add("REQUEST_URI", uri)
	w.Add("QUERY_STRING", r.URL.RawQuery)
	w.Add("CONTENT_TYPE", r.Header.Get("Content-Type"))
	if length > 0 {
		w.Add("CONTENT_LENGTH", strconv.FormatInt(length, 10))
	}
	w.Add("GATEWAY_INTERFACE", "CGI/1.1")
	w.Add("REDIRECT_STATUS", "200")
	w.Add("SERVER_PROTOCOL", r.Proto)
	w.Add("SERVER_SOFTWARE", "Edge")
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
		w.Add("HTTPS", "on")
	}
	w.Add("REQUEST_SCHEME", scheme)
	if host, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		w.Add("REMOTE_ADDR", host)
		w.Add("REMOTE_PORT", port)
	} else if _, err := netip.ParseAddr(r.RemoteAddr); err == nil { // of a proxy that did not say the port
		w.Add("REMOTE_ADDR", r.RemoteAddr)
	}
	AddServer(&w, r)
	w.Add("SERVER_NAME", (&url.URL{Host: r.Host}).Hostname())
	if t.Params != nil {
		t.Params(r, w.Add)
	}
	addHeaders(&w, r)
	b, err := w.End()
	return AppendHeader(b, Params, requestID, 0), err
}

// addHeaders leaves out the names that PHP would take for others, and Proxy, which HTTP clients obey as HTTP_PROXY.
func addHeaders(w *ParamWriter, r *http.Request) {
	for name, values := range r.Header {
		switch name {
		case "Host", "Proxy", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "Te":
			continue
		}
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		if len(values) > 0 && !strings.ContainsFunc(name, func(c rune) bool {
			return c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
		}) {
			w.AddHeader(name, values, separator)
		}
	}
	w.Add("HTTP_HOST", r.Host)
}

// answerReader is the body of an answer.
type answerReader struct {
	conn   net.Conn
	reader *Reader
	log    *slog.Logger
	stop   func() bool

	mu       sync.Mutex // guards the deadline
	answered bool

	rest   []byte // of the record at hand; valid until the next is read
	left   int64  // of the length that the script has told, or -1
	stderr int    // bytes of it that were logged
	ended  bool
	closed sync.Once
}

// await sets the limit for the head, once the request is sent; without one, the head is there, and the rest has no limit here.
func (a *answerReader) await(limit time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case limit == 0:
		a.answered = true
		_ = a.conn.SetReadDeadline(time.Time{}) // a closed connection shows in the next read
	case !a.answered:
		_ = a.conn.SetReadDeadline(time.Now().Add(limit))
	}
}

// head reads up to the end of the header.
func (a *answerReader) head(r *http.Request) (*http.Response, error) {
	var buf []byte
	for {
		from := len(buf)
		content, err := a.next()
		if err == io.EOF {
			return nil, fmt.Errorf("%w: it ends before its body", ErrHead)
		}
		if err != nil {
			return nil, err
		}
		buf = append(buf, content...)
		end := HeadEnd(buf, from)
		if end >= 0 {
			a.rest = buf[end:]
			return a.response(r, buf[:end])
		}
		if len(buf) > maxHead {
			return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrHead, maxHead)
		}
	}
}

func (a *answerReader) response(r *http.Request, text []byte) (*http.Response, error) {
	var h Head
	if err := h.Parse(text); err != nil {
		return nil, err
	}
	res := &http.Response{
		StatusCode: h.Status, Status: strconv.Itoa(h.Status) + " " + http.StatusText(h.Status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, ContentLength: -1, Request: r, Body: a,
	}
	for _, f := range h.Fields {
		name, value := string(f.Name), string(f.Value)
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%w: the field %q", ErrHead, name)
		}
		switch name = textproto.CanonicalMIMEHeaderKey(name); name {
		case "Transfer-Encoding", "Connection", "Trailer":
			continue // of a connection that is not there
		}
		res.Header.Add(name, value)
	}
	if lengths := res.Header["Content-Length"]; len(lengths) > 0 {
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || len(lengths) > 1 {
			return nil, fmt.Errorf("%w: Content-Length: %q", ErrHead, lengths)
		}
		res.ContentLength = int64(n)
	}
	a.left = res.ContentLength
	if r.Method == http.MethodHead || h.Status == http.StatusNoContent || h.Status == http.StatusNotModified {
		a.left = -1
	}
	return res, nil
}

// next returns what the script writes, record by record, and io.EOF at its proper end.
func (a *answerReader) next() ([]byte, error) {
	for !a.ended {
		kind, content, err := a.reader.Next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		switch kind {
		case Stdout:
			if len(content) > 0 {
				return content, nil
			}
		case Stderr:
			a.said(content)
		case EndRequest:
			end, err := ParseEnd(content)
			if err != nil {
				return nil, err
			}
			if end.Protocol != Complete {
				return nil, fmt.Errorf("%w: code %d", ErrBusy, end.Protocol)
			}
			a.ended = true
		}
	}
	return nil, io.EOF
}

func (a *answerReader) said(text []byte) {
	if a.log == nil || len(text) == 0 || a.stderr >= maxStderr {
		return
	}
	text = text[:min(len(text), maxStderr-a.stderr)]
	a.stderr += len(text)
	a.log.Warn("php", "stderr", strings.TrimSpace(string(text)))
}

func (a *answerReader) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		var err error
		if a.rest, err = a.next(); err != nil {
			if err == io.EOF && a.left > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	if a.left >= 0 {
		if a.left -= int64(n); a.left < 0 {
			return 0, fmt.Errorf("%w: the body is longer than its Content-Length", ErrRecord)
		}
	}
	return n, nil
}

// Close ends the connection, and with it a script that still runs.
func (a *answerReader) Close() error {
	a.closed.Do(func() {
		a.stop()
		a.conn.Close()
	})
	return nil
}
