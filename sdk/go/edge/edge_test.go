//go:build !wasip1

package edge_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/sdk/go/edge"
)

// Handlers are registered per package, so these tests run one after the other.

func ExampleHandle() {
	edge.Handle(func(r *edge.Request) edge.Result {
		if r.Header().Get("Authorization") == "" {
			return r.Respond(401, "text/plain", "who are you?\n")
		}
		r.Header().Set("X-User", "somebody")
		return edge.Next
	})

	// In a test of the plugin:
	host := edge.TestHost{Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello,", r.Header.Get("X-User"))
	})}
	for _, authorization := range []string{"", "Bearer x"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", authorization)
		res := host.Do(r)
		body, _ := io.ReadAll(res.Body)
		fmt.Print(res.StatusCode, " ", string(body))
	}
	// Output:
	// 401 who are you?
	// 200 hello, somebody
}

func ExampleHandleResponse() {
	defer edge.HandleResponse(nil)
	edge.Handle(func(r *edge.Request) edge.Result {
		edge.Enable(edge.BufferResponse)
		return edge.NextWith(7)
	})
	edge.HandleResponse(func(r *edge.Response) {
		body := r.Body().ReadAll()
		r.SetStatus(r.Status() + 1)
		r.Body().WriteString(strings.ToUpper(string(body)) + fmt.Sprint(r.Ctx()))
	})

	host := edge.TestHost{Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello ") })}
	res := host.Do(httptest.NewRequest("GET", "/", nil))
	body, _ := io.ReadAll(res.Body)
	fmt.Println(res.StatusCode, string(body))
	// Output: 201 HELLO 7
}

func TestRequestAsThePluginSeesIt(t *testing.T) {
	edge.Handle(func(r *edge.Request) edge.Result {
		for _, check := range []struct{ what, got, want string }{
			{"method", r.Method(), "POST"},
			{"URI", r.URI(), "/a%20b?c=d"},
			{"protocol", r.Proto(), "HTTP/1.1"},
			{"peer", r.SourceAddr(), "192.0.2.1:1234"},
			{"config", string(edge.Config()), "settings"},
			{"names", strings.Join(r.Header().Names(), ","), "host,x-list,x-long"},
			{"values", strings.Join(r.Header().Values("X-LIST"), ","), "1,2"},
			{"host", r.Header().Get("Host"), "example.com"},
			{"long", r.Header().Get("x-long"), strings.Repeat("x", 5000)},
			{"absent", r.Header().Get("x-absent"), ""},
			{"body", string(r.Body().ReadAll()), strings.Repeat("body", 1000)},
		} {
			if check.got != check.want {
				t.Errorf("%s = %.50q, want %.50q", check.what, check.got, check.want)
			}
		}
		if edge.DebugEnabled() {
			edge.Debug("seen")
		}
		edge.Info("i")
		edge.Warn("w")
		edge.Error("e")
		return edge.Done
	})
	r := httptest.NewRequest("POST", "/a%20b?c=d", strings.NewReader(strings.Repeat("body", 1000)))
	r.Header["X-List"] = []string{"1", "2"}
	r.Header.Set("X-Long", strings.Repeat("x", 5000))
	h := edge.TestHost{Config: []byte("settings")}
	h.Do(r)
	if got := strings.Join(h.Logs, ", "); got != "debug: seen, info: i, warn: w, error: e" {
		t.Errorf("logs = %q", got)
	}
}

func TestRequestAsTheNextHandlerSeesIt(t *testing.T) {
	edge.Handle(func(r *edge.Request) edge.Result {
		r.SetMethod("PUT")
		r.SetURI("/new?x=1")
		r.Header().Set("Host", "other")
		r.Header().Set("One", "1")
		r.Header().Add("One", "2")
		r.Header().Del("Gone")
		io.WriteString(r.Body(), "new ")
		r.Body().Write([]byte("body"))
		r.Response().Header().Set("Early", "yes")
		return edge.Next
	})
	h := edge.TestHost{Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := fmt.Sprint(r.Method, r.RequestURI, r.Host, r.Header["One"], r.Header["Gone"], string(body))
		if want := "PUT/new?x=1other[1 2] []new body"; got != want {
			t.Errorf("the next handler saw %q, want %q", got, want)
		}
		w.WriteHeader(204)
	})}
	r := httptest.NewRequest("POST", "/", strings.NewReader("old"))
	r.Header.Set("Gone", "x")
	if res := h.Do(r); res.StatusCode != 204 || res.Header.Get("Early") != "yes" {
		t.Errorf("answer = %d %v", res.StatusCode, res.Header)
	}
	if r.Method != "POST" {
		t.Error("the caller's request changed")
	}
}

func TestBufferRequestKeepsTheBody(t *testing.T) {
	for _, buffer := range []bool{true, false} {
		edge.Handle(func(r *edge.Request) edge.Result {
			if buffer {
				edge.Enable(edge.BufferRequest)
			}
			io.ReadFull(r.Body(), make([]byte, 4))
			return edge.Next
		})
		want := map[bool]string{true: "0123456789", false: "456789"}[buffer]
		h := edge.TestHost{Next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); string(body) != want {
				t.Errorf("buffer %v: body = %q, want %q", buffer, body, want)
			}
		})}
		h.Do(httptest.NewRequest("POST", "/", strings.NewReader("0123456789")))
	}
}

func TestMisuseAfterNextPanics(t *testing.T) {
	defer edge.HandleResponse(nil)
	edge.Handle(func(*edge.Request) edge.Result { return edge.Next })
	edge.HandleResponse(func(r *edge.Response) { r.SetStatus(500) })
	h := &edge.TestHost{}
	defer func() {
		if cause := recover(); cause == nil || !strings.Contains(fmt.Sprint(cause), "edge.BufferResponse") {
			t.Errorf("recovered %v, want a hint at edge.BufferResponse", cause)
		}
		if len(h.Logs) != 1 || !strings.HasPrefix(h.Logs[0], "error: panic in handle_response") {
			t.Errorf("logs = %q, want the panic", h.Logs)
		}
	}()
	h.Do(httptest.NewRequest("GET", "/", nil))
}

func TestTrailers(t *testing.T) {
	edge.Handle(func(r *edge.Request) edge.Result {
		edge.Enable(edge.Trailers)
		r.Trailer().Set("digest", "x")
		r.Response().Trailer().Set("status", "0")
		if got := strings.Join(r.Response().Trailer().Names(), ",") + r.Response().Trailer().Get("Status"); got != "status0" {
			t.Errorf("trailers = %q", got)
		}
		if names := r.Response().Header().Names(); len(names) != 0 {
			t.Errorf("headers = %q, want none", names)
		}
		return edge.Next
	})
	h := edge.TestHost{Next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := r.Trailer.Get("Digest"); got != "x" {
			t.Errorf("request trailer = %q", got)
		}
	})}
	h.Do(httptest.NewRequest("GET", "/", nil))
}
