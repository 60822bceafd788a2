package guard_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/guard"
)

// Limits that the tests let run out, one of them when something has begun, and one that even a slow machine keeps.
const (
	soon  = 50 * time.Millisecond
	began = time.Second
	ample = 30 * time.Second
)

func TestLimitTime(t *testing.T) {
	t.Parallel()
	freed := make(chan struct{})
	handler := http.NewServeMux()
	handler.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Handler", "slow")
		<-r.Context().Done()
		w.Header().Set("X-Late", "1")
		if _, err := io.WriteString(w, "too late"); !errors.Is(err, http.ErrHandlerTimeout) {
			t.Errorf("the handler writes: %v", err)
		}
	})
	handler.HandleFunc("/deaf", func(http.ResponseWriter, *http.Request) { <-freed })
	handler.HandleFunc("/quick", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Handler", "quick")
		w.Header().Set("Trailer", "X-End")
		io.WriteString(w, "hello")
		w.Header().Set("X-End", "yes")
	})
	handler.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		for range 4 {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			time.Sleep(began / 3)
		}
	})
	read := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the body ends in %v", err)
			}
			http.Error(w, "no body", http.StatusBadRequest)
		}
	}
	handler.HandleFunc("/body", read)
	handler.HandleFunc("/half", read)
	handler.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	limits := map[string]time.Duration{"/slow": soon, "/deaf": soon, "/quick": ample, "/stream": began, "/empty": ample, "/body": ample, "/half": began}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Outer", "1")
		guard.LimitTime(limits[r.URL.Path], handler).ServeHTTP(w, r)
	}))
	defer s.Close()
	defer close(freed)
	get := func(path string, body io.Reader) (*http.Response, string) {
		t.Helper()
		method := "GET"
		if body != nil {
			method = "POST"
		}
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.Header.Get("X-Outer") != "1" {
			t.Errorf("%s: headers from outside are lost: %v", path, res.Header)
		}
		return res, string(text)
	}
	if res, body := get("/slow", nil); res.StatusCode != 504 || res.Header.Get("X-Handler") != "" || res.Header.Get("X-Late") != "" || !strings.Contains(body, "50ms") {
		t.Errorf("/slow: %s %v %q", res.Status, res.Header, body)
	}
	if res, _ := get("/deaf", nil); res.StatusCode != 504 {
		t.Errorf("/deaf: %s", res.Status)
	}
	if res, _ := get("/deaf", strings.NewReader("a body that nobody reads")); res.StatusCode != 504 {
		t.Errorf("/deaf with a body: %s", res.Status)
	}
	if res, body := get("/quick", nil); res.StatusCode != 200 || body != "hello" || res.Header.Get("X-Handler") != "quick" || res.Trailer.Get("X-End") != "yes" {
		t.Errorf("/quick: %s %v %v %q", res.Status, res.Header, res.Trailer, body)
	}
	if res, body := get("/stream", nil); res.StatusCode != 200 || body != "xxxx" {
		t.Errorf("/stream: %s %q", res.Status, body)
	}
	if res, _ := get("/empty", nil); res.StatusCode != 200 {
		t.Errorf("/empty: %s", res.Status)
	}
	if res, _ := get("/body", strings.NewReader("all at once")); res.StatusCode != 200 {
		t.Errorf("/body: %s", res.Status)
	}
	never, feed := io.Pipe()
	defer feed.Close()
	go io.WriteString(feed, "some")
	if res, _ := get("/half", never); res.StatusCode != 408 {
		t.Errorf("a body that never ends: %s", res.Status)
	}
	problems(t, guard.Limits{Body: -1, Time: -1}.Validate(), "body: ", "time: ")
}

// lingering is a writer that is not done with the head of an answer before gone is closed.
type lingering struct {
	http.ResponseWriter
	gone chan struct{}
}

// Unwrap lets http.ResponseController reach the rest.
func (w *lingering) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *lingering) WriteHeader(status int) {
	<-w.gone
	for range 1000 {
		runtime.Gosched() // so that what the handler has done is noticed first
	}
	w.ResponseWriter.WriteHeader(status)
}

// TestTheAnswerOfTheLimitStaysWhole: a handler breaks off its answer when its context ends, as a proxy does, and that may be noticed before
// the answer in its place is out.
func TestTheAnswerOfTheLimitStaysWhole(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gone := make(chan struct{})
		guard.LimitTime(time.Millisecond, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(gone)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})).ServeHTTP(&lingering{w, gone}, r)
	}))
	defer s.Close()
	for range 20 {
		res, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if res.Body.Close(); res.StatusCode != 504 || err != nil || !strings.Contains(string(text), "1ms") {
			t.Fatalf("%s %q %v", res.Status, text, err)
		}
	}
}
