package wasmhost_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// TestTrace: every call between host and guest is told, in order, with what passed; one that ends the guest, too, and a pointer
// that leads out of memory does no harm.
func TestTrace(t *testing.T) {
	t.Parallel()
	guest := wat{
		request: `(drop (call $get_uri (i32.const 0) (i32.const 100)))
			(drop (call $get_uri (i32.const 0) (i32.const 2)))
			(call $set_header_value (i32.const 1) (str "x-long") (str "` + strings.Repeat("y", 80) + `"))
			` + pass,
		response: `(call $set_header_value (i32.const 1) (i32.const 2147483647) (i32.const 10) (str "v"))`,
	}
	dir := testenv.Dir(t)
	if err := os.WriteFile(filepath.Join(dir, "traced.wasm"), guest.compile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	on := false
	host, err := wasmhost.New(context.Background(), wasmhost.Config{Dir: dir, Auto: true}, wasmhost.Options{
		Logger: slog.New(slog.DiscardHandler),
		Trace: func(e wasmhost.TraceEvent) {
			line := fmt.Sprintf("%s(%s) = %s", e.Function, strings.Join(e.Args, ", "), e.Result)
			switch {
			case e.Begins:
				line = e.Function + " begins"
			case e.Err != nil:
				line = e.Function + " fails"
			case on && e.Guest && e.Fuel <= 0:
				t.Errorf("%s took no fuel", e.Function)
			}
			if on {
				told = append(told, line)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Stop(context.Background()) })
	p, there := host.Plugin("traced")
	if !there {
		t.Fatal("the plugin was not loaded")
	}
	on = true
	p.Middleware(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/a?b", nil))

	want := []string{
		"handle_request begins",
		`http_handler.get_uri() = "/a?b"`,
		"http_handler.get_uri() = 4 bytes, the buffer has 2",
		`http_handler.set_header_value(response, "x-long", "` + strings.Repeat("y", 64) + `"… (80 bytes)) = `,
		"handle_request() = the request goes on",
		"handle_response begins",
		"http_handler.set_header_value fails",
		"handle_response fails",
	}
	if !slices.Equal(told, want) {
		t.Errorf("the trace is\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
}
