package httpserver

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzH1Answers lets a handler do what script says, here and behind net/http: the bytes of both answers must mean the same.
func FuzzH1Answers(f *testing.F) {
	for request := range uint8(len(answered)) {
		for _, script := range []string{"w", "lw", "lww", "ww", "fw", "wfw", "twT", "s4", "s3w", "b", "bw", "bbbbb", "lb", "ewl", "pwf", "hw", "cw", "w0w", "xw", "r", "lr", "ow", "Xww"} {
			f.Add(request, script)
		}
	}
	f.Fuzz(func(t *testing.T, request uint8, script string) {
		if len(script) > 30 {
			return
		}
		text := answered[int(request)%len(answered)]
		ours, theirs := answerOf(t, text, script, true), answerOf(t, text, script, false)
		if ours != theirs {
			t.Errorf("%q, script %q:\n%.2000q\nnet/http:\n%.2000q", text, script, ours, theirs)
		}
	})
}

var answered = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
}

// play does one thing for each letter.
func play(w http.ResponseWriter, script string) {
	h := w.Header()
	decided := false
	for _, c := range script {
		decided = decided || strings.ContainsRune("wbrf02345", c)
		switch c {
		case 'w':
			_, _ = io.WriteString(w, "<html>")
		case '0':
			_, _ = w.Write(nil)
		case 'b':
			_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 1500))
		case 'r':
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("copied"))
		case 'f':
			w.(http.Flusher).Flush()
		case 'l':
			h.Set("Content-Length", "6")
		case 'c':
			h.Set("Connection", "close")
		case 'o':
			h.Set("X-Odd", "a\r\nb")
		case 'e':
			h.Set("Content-Encoding", "br")
		case 'p':
			h.Set("Content-Type", "text/plain")
		case 'x':
			h["Content-Type"] = nil
		case 't':
			h.Set("Trailer", "X-Sum")
		case 'T':
			if decided { // else net/http sends it twice
				h.Set("X-Sum", "1")
			}
		case 'X':
			delete(h, "X-Odd")
		case '2':
			w.WriteHeader(200)
		case '3':
			w.WriteHeader(304)
		case '4':
			w.WriteHeader(204)
		case '5':
			w.WriteHeader(500)
		}
	}
}

// answerOf is what the client reads, in a form that does not depend on how it was cut into chunks.
func answerOf(t *testing.T, request, script string, ours bool) string {
	conn := &recordingConn{scriptConn: scriptConn{input: []byte(request)}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { play(w, script) })
	cfg := DefaultConfig()
	cfg.Listen = []Listen{{Address: "127.0.0.1:0"}}
	s := &Server{cfg: cfg, log: slog.New(slog.DiscardHandler), handler: handler}
	s.hard.Store(true)
	if ours {
		e := newEndpoint(s, 0)
		c := &h1Conn{endpoint: e, conn: conn, remote: "192.0.2.1:1"}
		e.h1conns = append(e.h1conns, c)
		e.conns.Add(1)
		c.serve()
	} else {
		listenOnce(conn, handler)
	}
	head, body, ok := strings.Cut(conn.written.String(), "\r\n\r\n")
	if !ok {
		t.Fatalf("%q: no head: %q", script, head)
	}
	lines := strings.Split(head, "\r\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Date: ") })
	slices.Sort(lines[1:])
	end := ""
	if slices.Contains(lines, "Transfer-Encoding: chunked") {
		body, end = unchunk(t, body)
	}
	return strings.Join(lines, "\n") + "\n\n" + body + "|" + end
}

// unchunk returns a chunked body and what stands behind its data.
func unchunk(t *testing.T, text string) (body, end string) {
	b := &h1Body{chunked: true, exchange: &h1Exchange{conn: &h1Conn{in: []byte(text), end: len(text), conn: &scriptConn{}, endpoint: &endpoint{server: &Server{}}}, request: &http.Request{}}}
	data, err := io.ReadAll(b)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for name, values := range b.exchange.request.Trailer {
		end += name + ": " + strings.Join(values, ", ")
	}
	return string(data), end
}

type recordingConn struct {
	scriptConn
	written bytes.Buffer
}

func (c *recordingConn) Write(p []byte) (int, error) { return c.written.Write(p) }

// listenOnce serves one connection with net/http.
func listenOnce(conn *recordingConn, handler http.Handler) {
	serveConn(conn, &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)})
}
