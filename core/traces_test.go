package core_test

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// receiver is a collector of OpenTelemetry that keeps what it gets.
type receiver struct {
	url string

	mu       sync.Mutex // protects what follows
	spans    []*otlp.Span
	resource map[string]string
	headers  http.Header
	refuse   bool
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{resource: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(r.take))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var export collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &export)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || req.URL.Path != "/v1/traces" || r.refuse {
		http.Error(w, fmt.Sprint(req.URL, err), http.StatusBadRequest)
		return
	}
	r.headers = req.Header
	for _, rs := range export.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			r.resource[a.Key] = a.Value.GetStringValue()
		}
		for _, ss := range rs.ScopeSpans {
			r.spans = append(r.spans, ss.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// trace returns the spans of a trace by name, once there are n of them.
func (r *receiver) trace(t *testing.T, id string, n int) map[string]*otlp.Span {
	t.Helper()
	var found map[string]*otlp.Span
	testenv.Eventually(t, fmt.Sprintf("%d spans of trace %s", n, id), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		found = map[string]*otlp.Span{}
		for _, s := range r.spans {
			if hex.EncodeToString(s.TraceId) == id {
				found[s.Name] = s
			}
		}
		return len(found) >= n
	})
	return found
}

func attributeOf(s *otlp.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return strings.Trim(a.Value.String(), `"`)
		}
	}
	return ""
}

const (
	clientSpan = "00f067aa0ba902b7"
	tracesTail = "telemetry: {traces: {endpoint: %s, interval: 20ms, service: shop, resource: {deployment.environment.name: test}, headers: {X-Key: k}}}\n"
)

// TestOneTraceThroughPHP: a request that belongs to a trace runs through a plugin to PHP, which asks a store: the spans of all are in
// that trace, one under the other, and a real collector takes them. sdk/php says where it belongs; about any other worker the kernel and the pool know.
func TestOneTraceThroughPHP(t *testing.T) {
	t.Parallel()
	guest := testenv.CGuest(t, "plugins-wasm/hardening/hardening.c")
	for name, script := range map[string]string{"sdk": "app.php", "any other": "plain.php"} {
		for _, listen := range []string{"unix", "tcp"} {
			if listen == "tcp" && name != "sdk" {
				continue // TCP says nothing about who calls
			}
			t.Run(name+" over "+listen, func(t *testing.T) {
				t.Parallel()
				r := startReceiver(t)
				collector := testenv.StartOTelCollector(t, r.url)
				s := startTraced(t, "http://"+collector.Addr, guest, script, listen)
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() { requestInTrace(t, s, r, fmt.Sprintf("%032x", i+1), i) })
				}
				wg.Wait()
				r.mu.Lock()
				defer r.mu.Unlock()
				if r.resource["service.name"] != "shop" || r.resource["deployment.environment.name"] != "test" {
					t.Errorf("resource %v", r.resource)
				}
			})
		}
	}
}

func startTraced(t *testing.T, collector, guest, script, listen string) *edgetest.Server {
	t.Helper()
	sdk, err := filepath.Abs("../sdk/php")
	if err != nil {
		t.Fatal(err)
	}
	script, err = filepath.Abs("testdata/" + script)
	if err != nil {
		t.Fatal(err)
	}
	address := "unix"
	if listen == "tcp" {
		address = "tcp://127.0.0.1:" + freePort(t)
	}
	return edgetest.Start(t, fmt.Sprintf(`
http: {middleware: [gate], routes: [{name: shop, match: {path: /*}, use: [guard], php: app}]}
plugins: {modules: {gate: {file: %[1]s}, guard: {file: %[1]s}}}
php: {app: {command: [%s, %s], user: %s, workers: {min: 2, max: 2}, env: {EDGE_TEST_SDK: %s}}}
kv: {counters: {driver: memory}}
rpc: {listen: "%s"}
`+tracesTail, guest, testenv.PHP(t), script, currentUser(t), sdk, address, collector))
}

// requestInTrace sends a request, and looks at what the collector got of it.
func requestInTrace(t *testing.T, s *edgetest.Server, r *receiver, id string, i int) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTP+"/", nil)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Traceparent", "00-"+id+"-"+clientSpan+"-01")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("answer %s %q", res.Status, body)
		return
	}
	spans := r.trace(t, id, 6)
	server, gate, plugin, pool := spans["GET shop"], spans["wasm:gate"], spans["wasm:guard"], spans["php:app"]
	get, set := cmp.Or(spans["kv:mget"], spans["kv:fetch"]), spans["kv:set"] // sdk/php has a method of its own
	if server == nil || gate == nil || plugin == nil || pool == nil || get == nil || set == nil || len(spans) != 6 {
		t.Errorf("request %d: spans %v", i, spans)
		return
	}
	if hex.EncodeToString(server.ParentSpanId) != clientSpan || server.Kind != otlp.Span_SPAN_KIND_SERVER {
		t.Errorf("the span of the request is %v", server)
	}
	for child, parent := range map[*otlp.Span]*otlp.Span{gate: server, plugin: gate, pool: plugin} {
		if string(child.ParentSpanId) != string(parent.SpanId) {
			t.Errorf("%s is under %x, want %s, %x", child.Name, child.ParentSpanId, parent.Name, parent.SpanId)
		}
	}
	for _, child := range []*otlp.Span{get, set} {
		if string(child.ParentSpanId) != string(pool.SpanId) {
			t.Errorf("%s is under %x, want %x", child.Name, child.ParentSpanId, pool.SpanId)
		}
		if attributeOf(child, "kv.storage") != `string_value:"counters` {
			t.Errorf("storage %q", attributeOf(child, "kv.storage"))
		}
	}
	if server.StartTimeUnixNano > get.StartTimeUnixNano || get.EndTimeUnixNano > server.EndTimeUnixNano {
		t.Error("the call was not within the request")
	}
}

// TestTracesBegin where the client brings none, and a bad header counts as none; the ratio decides about those.
func TestTracesBegin(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	s := edgetest.Start(t, fmt.Sprintf("http: {routes: [{name: hi, respond: hello}]}\n"+tracesTail, r.url))
	for _, header := range []string{"", "nonsense", "00-" + strings.Repeat("0", 32) + "-" + clientSpan + "-01"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.HTTP+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", header)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	testenv.Eventually(t, "three spans", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.spans) == 3 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.headers.Get("X-Key") != "k" {
		t.Errorf("headers %v", r.headers)
	}
	for _, span := range r.spans {
		if len(span.ParentSpanId) != 0 || span.Name != "GET hi" || attributeOf(span, "http.response.status_code") != "int_value:200" {
			t.Errorf("span %v", span)
		}
	}
}

// TestCollectorAway costs no request, is said once, counted, and ends when the collector is back.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	collector := testenv.StartOTelCollector(t, r.url)
	collector.Kill()
	// Room for few spans, and an attempt that lasts longer than it takes to fill it.
	s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{name: hi, respond: hello}]}
telemetry: {traces: {endpoint: "http://%s", interval: 5ms, timeout: 1s, queue: 4, batch: 2}}
`, collector.Addr))
	get := func() {
		t.Helper()
		res, err := http.Get(s.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	metric := func(outcome string) int { return traceMetric(t, s, outcome) }
	for range 50 {
		get()
	}
	testenv.Eventually(t, "spans without room are counted", func() bool { get(); return metric("dropped") > 0 })
	testenv.Eventually(t, "spans that nobody takes are counted", func() bool { get(); return metric("lost") > 4 })
	if n := strings.Count(s.Log.String(), "traces are lost"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
	collector.Start()
	testenv.Eventually(t, "the log says that it works", func() bool { get(); return strings.Contains(s.Log.String(), "takes traces again") })
	testenv.Eventually(t, "spans that arrive are counted", func() bool { return metric("sent") > 0 })
	testenv.Eventually(t, "they arrived", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.spans) > 0 })
}

// traceMetric is a number of edge_traces_spans_total.
func traceMetric(t *testing.T, s *edgetest.Server, outcome string) int {
	t.Helper()
	_, rest, found := strings.Cut(rawMetrics(t, s), fmt.Sprintf("edge_traces_spans_total{outcome=%q} ", outcome))
	if !found {
		t.Fatalf("no metric of spans that were %s", outcome)
	}
	text, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// freePort is a port of loopback that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
