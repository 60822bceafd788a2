package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/edge-server/edge/sdk/go/edge"
)

var format = regexp.MustCompile(`^plugin=stamp; lang=Go; spent=[0-9]+\.[0-9]$`)

// stamps sends a request that brings a forged stamp and returns those that the rest of the chain sees.
func stamps(t *testing.T) []string {
	t.Helper()
	var seen []string
	h := edge.TestHost{Next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Values(header) })}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("x-edge-stamp", "plugin=forged")
	if res := h.Do(r); res.StatusCode != http.StatusOK {
		t.Errorf("status = %d, want 200", res.StatusCode)
	}
	return seen
}

func TestStampReplacesWhatClientsSend(t *testing.T) {
	edge.Handle(func(r *edge.Request) edge.Result { return stamp(r, false) })
	if seen := stamps(t); len(seen) != 1 || !format.MatchString(seen[0]) {
		t.Errorf("stamps = %q, want its own alone", seen)
	}
}

func TestStampAppends(t *testing.T) {
	edge.Handle(func(r *edge.Request) edge.Result { return stamp(r, true) })
	if seen := stamps(t); len(seen) != 2 || seen[0] != "plugin=forged" || !format.MatchString(seen[1]) {
		t.Errorf("stamps = %q, want the earlier one and its own", seen)
	}
}
