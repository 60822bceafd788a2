// Package tracecontext tests the plugin trace-context.
package tracecontext

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00-" + traceID + "-00f067aa0ba902b7-01"
)

var (
	newParent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-0([23])$`)
	newID     = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// states is a tracestate of n members.
func states(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("k%d=v", i)
	}
	return strings.Join(list, ",")
}

func TestTraces(t *testing.T) {
	t.Parallel()
	p := plugintest.Load(t, plugintest.C(t, "trace-context"), nil)
	for _, row := range []struct {
		name         string
		parent       []string
		state        []string
		kept, stated bool
	}{
		{"none", nil, nil, false, false},
		{"valid", []string{parent}, []string{"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"}, true, true},
		{"not sampled", []string{"00-" + traceID + "-00f067aa0ba902b7-00"}, nil, true, false},
		{"of a later version", []string{"cc-" + traceID + "-00f067aa0ba902b7-01-what-is-to-come"}, []string{"a=b"}, true, true},
		{"of a later version, glued", []string{"cc-" + traceID + "-00f067aa0ba902b7-01x"}, nil, false, false},
		{"version ff", []string{"ff-" + traceID + "-00f067aa0ba902b7-01"}, []string{"a=b"}, false, false},
		{"longer than version 00", []string{parent + "-x"}, nil, false, false},
		{"capitals", []string{strings.ToUpper(parent)}, []string{"a=b"}, false, false},
		{"zero trace", []string{"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01"}, nil, false, false},
		{"zero parent", []string{"00-" + traceID + "-0000000000000000-01"}, nil, false, false},
		{"short", []string{parent[:54]}, nil, false, false},
		{"marks in the wrong places", []string{strings.ReplaceAll(parent, "-", "_")}, nil, false, false},
		{"two", []string{parent, parent}, nil, false, false},
		{"several states", []string{parent}, []string{"a=b, ", "", "c@d=e f"}, true, true},
		{"a state without =", []string{parent}, []string{"a=b,c"}, true, false},
		{"a state in capitals", []string{parent}, []string{"A=b"}, true, false},
		{"32 states", []string{parent}, []string{states(32)}, true, true},
		{"33 states", []string{parent}, []string{states(33)}, true, false},
		{"a key twice", []string{parent}, []string{"a=b,a=c"}, true, false},
		{"a key twice, in two lines", []string{parent}, []string{"a=b,c=d", "e=f, a=b"}, true, false},
		{"keys that begin alike", []string{parent}, []string{"a=b,aa=b,a@a=b"}, true, true},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Traceparent"], r.Header["Tracestate"] = row.parent, row.state
		res, passed := p.Do(r, nil)
		if res.Code != 200 || passed == nil {
			t.Errorf("%s: %d %s", row.name, res.Code, res.Body)
			continue
		}
		got := passed.Header.Values("Traceparent")
		if len(got) != 1 || row.kept != (len(row.parent) == 1 && got[0] == row.parent[0]) || !row.kept && !newParent.MatchString(got[0]) {
			t.Errorf("%s: traceparent %q", row.name, got)
			continue
		}
		if stated := len(passed.Header.Values("Tracestate")) > 0; stated != row.stated {
			t.Errorf("%s: tracestate %q", row.name, passed.Header.Values("Tracestate"))
		}
		if passed.Vars["trace_id"] != got[0][3:35] || passed.Vars["parent_id"] != got[0][36:52] || res.Header().Get("Traceresponse") != got[0] {
			t.Errorf("%s: %v, traceresponse %q", row.name, passed.Vars, res.Header().Get("Traceresponse"))
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	p := plugintest.Load(t, plugintest.C(t, "trace-context"), nil)
	for name, row := range map[string]struct {
		ids  []string
		kept bool
	}{
		"none": {nil, false}, "valid": {[]string{"a1-B2_c3.d4:e5/f6+g7=@~"}, true}, "longest": {[]string{strings.Repeat("a", 128)}, true},
		"too long": {[]string{strings.Repeat("a", 129)}, false}, "two": {[]string{"a", "b"}, false}, "empty": {[]string{""}, false},
		"with a quote": {[]string{`a"b`}, false}, "with a space": {[]string{"a b"}, false}, "with a comma": {[]string{"a,b"}, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["X-Request-Id"] = row.ids
		res, passed := p.Do(r, nil)
		ids := passed.Header.Values("X-Request-Id")
		if len(ids) != 1 || row.kept != (len(row.ids) == 1 && ids[0] == row.ids[0]) || !row.kept && !newID.MatchString(ids[0]) {
			t.Errorf("%s: %q", name, ids)
			continue
		}
		if passed.Vars["request_id"] != ids[0] || res.Header().Get("X-Request-Id") != ids[0] {
			t.Errorf("%s: %v, %v", name, passed.Vars, res.Header())
		}
	}
}

// TestDifferent: no two requests have the same identifiers, whatever instance serves them.
func TestDifferent(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"instance", "request"} {
		p := plugintest.Load(t, plugintest.C(t, "trace-context"), map[string]any{"sample": 50}, plugintest.Isolation(isolation))
		seen, sampled, n := map[string]bool{}, 0, testenv.Count(500, 50000)
		for range n {
			_, passed := p.Do(httptest.NewRequest("GET", "/", nil), nil)
			parts := newParent.FindStringSubmatch(passed.Header.Get("Traceparent"))
			for _, id := range []string{parts[1], parts[2], passed.Header.Get("X-Request-Id")} {
				if seen[id] {
					t.Fatalf("isolation %s: %s was there before", isolation, id)
				}
				seen[id] = true
			}
			if parts[3] == "3" {
				sampled++
			}
		}
		if sampled < n/4 || sampled > n*3/4 {
			t.Errorf("isolation %s: %d of %d are sampled, want about half", isolation, sampled, n)
		}
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	module := plugintest.C(t, "trace-context")
	p := plugintest.Load(t, module, map[string]any{"request_id": "X-Correlation-ID", "trust": false, "response": false, "sample": 0})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Traceparent", parent)
	r.Header.Set("Tracestate", "a=b")
	r.Header.Set("X-Correlation-Id", "mine")
	res, passed := p.Do(r, nil)
	if got := passed.Header; !strings.HasSuffix(got.Get("Traceparent"), "-02") || !newID.MatchString(got.Get("X-Correlation-Id")) || got.Get("Tracestate") != "" || got.Get("X-Request-Id") != "" {
		t.Errorf("passed on: %v", got)
	}
	if res.Header().Get("Traceresponse")+res.Header().Get("X-Correlation-Id") != "" {
		t.Errorf("answer: %v", res.Header())
	}
	if _, passed := plugintest.Load(t, module, map[string]any{"request_id": ""}).Do(httptest.NewRequest("GET", "/", nil), nil); passed.Vars["request_id"] != "" || passed.Vars["trace_id"] == "" {
		t.Errorf("without request identifiers: %v", passed.Vars)
	}
	for want, config := range map[string]any{
		"config: it must be an object":                          "text",
		"config.request_id: the name of a header":               map[string]any{"request_id": "x request"},
		"config.request_id: the name":                           map[string]any{"request_id": 1},
		"config.trust: true or false":                           map[string]any{"trust": "yes"},
		"config.response: true or false":                        map[string]any{"response": 1},
		"config.sample: a whole number":                         map[string]any{"sample": 101},
		"config.sample: a whole number from 0":                  map[string]any{"sample": 0.5},
		"config.tust: this key is not known: request_id, trust": map[string]any{"tust": true},
	} {
		if _, err := plugintest.TryLoad(t, module, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v; want %s", config, err, want)
		}
	}
}
