package httpserver_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// answers are ways to answer. Clients must see no difference between those that Edge writes itself and quic-go's.
var answers = map[string]func(http.ResponseWriter, *http.Request) error{
	"nothing": func(http.ResponseWriter, *http.Request) error { return nil },
	"a status": func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusAccepted) // too late
		return nil
	},
	"a body":            text("hello"),
	"a page":            text("<!doctype html><p>hello"),
	"an empty write":    text(""),
	"just small":        text(strings.Repeat("x", 4095)),
	"just not small":    text(strings.Repeat("x", 4096)),
	"large":             text(strings.Repeat("x", 1<<20)),
	"small and large":   text("small", strings.Repeat("x", 1<<20), "small"),
	"small and smaller": text(strings.Repeat("x", 4000), strings.Repeat("y", 95)),
	"grown":             text(strings.Repeat("x", 4000), strings.Repeat("y", 96)),
	"a type": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		return text("{}")(w, r)
	},
	"no type": func(w http.ResponseWriter, r *http.Request) error {
		w.Header()["Content-Type"] = nil
		return text("hello")(w, r)
	},
	"compressed": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Encoding", "br")
		return text("not really")(w, r)
	},
	"an error": func(w http.ResponseWriter, _ *http.Request) error {
		http.Error(w, "no", http.StatusNotFound)
		return nil
	},
	"no content": func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	},
	"a body where none may be": func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNotModified)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	},
	"an announced length": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Length", "10")
		return text("hello", "hello")(w, r)
	},
	"more than announced": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Length", "5")
		if err := text("hello")(w, r); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "!"); !errors.Is(err, http.ErrContentLength) && r.Method != http.MethodHead {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	},
	"a length that is none": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Length", "ten")
		return text("hello")(w, r)
	},
	"flushed": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "text/plain")
		err := http.NewResponseController(w).Flush()
		return errors.Join(err, text("hello")(w, r), http.NewResponseController(w).Flush(), text("hello")(w, r))
	},
	"flushed at last": func(w http.ResponseWriter, r *http.Request) error {
		return errors.Join(text("hello")(w, r), http.NewResponseController(w).Flush())
	},
	"trailers": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Trailer", "X-End")
		err := text("hello")(w, r)
		w.Header().Set("X-End", "1")
		return err
	},
	"trailers at last": func(w http.ResponseWriter, r *http.Request) error {
		err := text("hello")(w, r)
		w.Header().Set(http.TrailerPrefix+"X-End", "1")
		return err
	},
	"hints": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusEarlyHints)
		return text("hello")(w, r)
	},
	"many headers": func(w http.ResponseWriter, r *http.Request) error {
		for i := range 100 {
			w.Header().Add("Set-Cookie", fmt.Sprintf("name-%d=%s", i, strings.Repeat("v", i)))
			w.Header().Set(fmt.Sprintf("X-Header-%d", i), strings.Repeat("~", i))
		}
		return text("hello")(w, r)
	},
	"very long headers": func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("X-Long", strings.Repeat("~", 100<<10))
		return text("hello")(w, r)
	},
	"a panic": func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) },
	"a panic in half": func(w http.ResponseWriter, r *http.Request) error {
		_ = text("hello")(w, r)
		panic(http.ErrAbortHandler)
	},
}

// text writes every part, with Write and WriteString by turns.
func text(parts ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		for i, part := range parts {
			var n int
			var err error
			if i%2 == 0 {
				n, err = w.Write([]byte(part))
			} else {
				n, err = io.WriteString(w, part)
			}
			if err != nil || n != len(part) {
				return fmt.Errorf("write %d of %d bytes: %w", n, len(part), err)
			}
		}
		return nil
	}
}

func TestSmallAnswersAreLikeThoseOfQuicGo(t *testing.T) {
	t.Parallel()
	failures := make(chan error, 1000)
	handler := func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get("X-Answer")
		if err := answers[name](w, r); err != nil {
			failures <- fmt.Errorf("%s: %s: %w", r.Method, name, err)
		}
	}
	modes := start(t, handler).modes()
	theirs, ours := bareH3(t, http.HandlerFunc(handler)), modes[len(modes)-1]
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			want, got := ask(t, theirs, method, name), ask(t, ours, method, name)
			if got != want {
				t.Errorf("%s: %s:\n%.1000s\nquic-go alone:\n%.1000s", method, name, got, want)
			}
		}
	}
	for len(failures) > 0 {
		t.Error(<-failures)
	}
}

// bareH3 is quic-go's server with nothing around it.
func bareH3(t *testing.T, handler http.Handler) mode {
	t.Helper()
	pair := httptest.NewTLSServer(nil)
	pair.Close()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: pair.TLS.Certificates}, Logger: slog.New(slog.DiscardHandler)}
	ended := make(chan struct{})
	go func() { // ends with the server
		defer close(ended)
		_ = server.Serve(socket) // says that it was closed
	}()
	client := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		<-ended
		socket.Close()
	})
	return mode{"quic-go", "HTTP/3.0", "https://" + socket.LocalAddr().String(), &http.Client{Transport: client}}
}

// ask is all that a client sees of an answer.
func ask(t *testing.T, m mode, method, name string) string {
	t.Helper()
	var hints int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		hints++
		return nil
	}})
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(strings.Repeat("nobody reads this", 100))
	}
	req, err := http.NewRequestWithContext(ctx, method, m.url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Answer", name)
	req.Header.Set("Accept-Encoding", "identity")
	res, err := m.client.Do(req)
	if err != nil {
		return "no answer"
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	delete(res.Header, "Alt-Svc")
	if dates := res.Header["Date"]; len(dates) != 1 {
		t.Errorf("%s: %s over %s: Date is %q", method, name, m.name, dates)
	}
	delete(res.Header, "Date")
	return fmt.Sprintf("%d hints, status %d, length %d, headers %.300q, trailers %q, %d bytes %.20q, cut short: %t",
		hints, res.StatusCode, res.ContentLength, res.Header, res.Trailer, len(got), got, err != nil)
}
