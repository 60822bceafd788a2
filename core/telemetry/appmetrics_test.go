package telemetry_test

import (
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/core/telemetry"
)

func newApp(t *testing.T, collect map[string]telemetry.Collector) (call func(method string, arg any) error, page func() string) {
	t.Helper()
	m, err := telemetry.NewAppMetrics(collect)
	if err != nil {
		t.Fatal(err)
	}
	methods := m.Methods()
	call = func(method string, arg any) error {
		request, ok := methods.NewRequest(method)
		if !ok {
			t.Fatalf("no method %s", method)
		}
		switch r := request.(type) {
		case *telemetry.Metric:
			*r = arg.(telemetry.Metric)
		case *telemetry.NamedCollector:
			*r = arg.(telemetry.NamedCollector)
		case *string:
			*r = arg.(string)
		}
		_, err := methods.Call(context.Background(), method, request)
		return err
	}
	page = func() string {
		w := httptest.NewRecorder()
		telemetry.NewCollector(func() telemetry.Snapshot { return telemetry.Snapshot{Ready: true} }, m).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	return call, page
}

// TestApplicationCannotFillTheMemory: an id in a label, collectors without end, names that are ours.
func TestApplicationCannotFillTheMemory(t *testing.T) {
	t.Parallel()
	call, page := newApp(t, map[string]telemetry.Collector{"hits": {Type: "counter", Labels: []string{"id"}}})
	var err error
	n := 0
	for ; n < 20_000 && err == nil; n++ {
		err = call("Add", telemetry.Metric{Name: "hits", Value: 1, Labels: []string{fmt.Sprint(n)}})
	}
	if n != 10_001 || err == nil || !strings.Contains(err.Error(), "collector hits has 10000 series already") {
		t.Errorf("after %d values of a label: %v", n, err)
	}
	if err := call("Add", telemetry.Metric{Name: "hits", Value: 1, Labels: []string{"0"}}); err != nil {
		t.Errorf("a series that is there: %v", err)
	}
	if got := page(); !strings.Contains(got, `hits{id="0"} 2`) || !strings.Contains(got, "edge_ready 1") {
		t.Error("/metrics lacks what it should have")
	}
	if err := call("Add", telemetry.Metric{Name: "hits", Value: 1, Labels: []string{strings.Repeat("x", 2000)}}); err == nil {
		t.Error("a label of 2000 bytes was taken")
	}
	if err := call("Add", telemetry.Metric{Name: "hits", Value: math.NaN(), Labels: []string{"0"}}); err == nil {
		t.Error("a counter took what is no number")
	}

	for n = 0; n < 2000; n++ {
		if err = call("Declare", telemetry.NamedCollector{Name: fmt.Sprint("c", n), Collector: telemetry.Collector{Type: "gauge"}}); err != nil {
			break
		}
	}
	if n != 999 || !strings.Contains(err.Error(), "there are 1000 collectors already") {
		t.Errorf("after %d collectors: %v", n, err)
	}
}

func TestBadCollectors(t *testing.T) {
	t.Parallel()
	call, _ := newApp(t, nil)
	for want, c := range map[string]telemetry.NamedCollector{
		`type: "dial" is not counter`:              {Name: "a", Collector: telemetry.Collector{Type: "dial"}},
		`"a b" is not a name`:                      {Name: "a b", Collector: telemetry.Collector{Type: "gauge"}},
		`names that begin with edge_`:              {Name: "b", Collector: telemetry.Collector{Type: "gauge", Namespace: "edge"}},
		`labels[0]: "x y" is not a name`:           {Name: "c", Collector: telemetry.Collector{Type: "gauge", Labels: []string{"x y"}}},
		`labels[1]: "x" is not a name of a label`:  {Name: "d", Collector: telemetry.Collector{Type: "gauge", Labels: []string{"x", "x"}}},
		`labels[0]: "le" is the label that a hist`: {Name: "e", Collector: telemetry.Collector{Type: "histogram", Labels: []string{"le"}}},
		`buckets: [2 1] do not grow`:               {Name: "f", Collector: telemetry.Collector{Type: "histogram", Buckets: []float64{2, 1}}},
		`objectives: "x"`:                          {Name: "g", Collector: telemetry.Collector{Type: "summary", Objectives: telemetry.Objectives{"x": 1}}},
	} {
		if err := call("Declare", c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
	// Two names that are one metric, with other labels.
	if err := call("Declare", telemetry.NamedCollector{Name: "b_c", Collector: telemetry.Collector{Type: "gauge", Namespace: "a"}}); err != nil {
		t.Fatal(err)
	}
	if err := call("Declare", telemetry.NamedCollector{Name: "c", Collector: telemetry.Collector{Type: "gauge", Namespace: "a", Subsystem: "b"}}); err == nil ||
		!strings.Contains(err.Error(), "tried to register existing collector") {
		t.Errorf("the same name by another way: %v", err)
	}
}

// TestMetricsHammer declares, changes, removes and reads at once.
func TestMetricsHammer(t *testing.T) {
	t.Parallel()
	call, page := newApp(t, nil)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				name := fmt.Sprint("m", i%3)
				_ = call("Declare", telemetry.NamedCollector{Name: name, Collector: telemetry.Collector{Type: "gauge", Labels: []string{"l"}}})
				_ = call("Add", telemetry.Metric{Name: name, Value: 1, Labels: []string{fmt.Sprint(g)}})
				if i%17 == 0 {
					_ = call("Unregister", name)
				}
				if i%50 == 0 && !strings.Contains(page(), "edge_ready 1") {
					t.Error("/metrics is empty")
				}
			}
		})
	}
	wg.Wait()
}
