package middleware_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/middleware"
)

func TestRecoverAnswers500(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, middleware.Recover(log.logger())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Set-Cookie", "half=done")
		w.Header().Set("X-Kept", "yes")
		w.WriteHeader(http.StatusEarlyHints)
		panic("the reason\nand more")
	})))
	res, body := get(t, s, "/a%0Ab?x=1")
	if res.StatusCode != 500 || body != "500 internal server error\n" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
	for name, want := range map[string]string{"Content-Encoding": "", "Set-Cookie": "", "X-Kept": "yes"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	records := log.records(t)
	if len(records) != 1 || records[0]["panic"] != "the reason\nand more" || records[0]["uri"] != "/a%0Ab?x=1" || records[0]["level"] != "ERROR" {
		t.Fatalf("logged %v", records)
	}
	if stack := records[0]["stack"].(string); !strings.Contains(stack, "TestRecoverAnswers500") {
		t.Errorf("the stack does not show where it happened: %s", stack)
	}
}

func TestRecoverCutsAnAnswerThatHasBegun(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := serve(t, middleware.Recover(log.logger())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the first part")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic("too late for a 500")
	})))
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(body) != "the first part" {
		t.Errorf("got %q, %v; want an answer that is cut", body, err)
	}
	if len(log.records(t)) != 1 {
		t.Errorf("logged %v", log.records(t))
	}
}

func TestRecoverLetsAbortPass(t *testing.T) {
	t.Parallel()
	var log logBuffer
	h := middleware.Recover(log.logger())(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler", got)
		}
		if records := log.records(t); len(records) != 0 {
			t.Errorf("logged %v", records)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}
