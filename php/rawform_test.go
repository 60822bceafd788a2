package php

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRawForm: sdk/php gets a form as it came. When a worker of another kind takes the request, it finds a tree.
func TestRawForm(t *testing.T) {
	t.Parallel()
	const body = "b=2&a[]=1&a[]=%20x"
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	j := getJob(speaksNative)
	if _, err := new(Pool).fill(r, j); err != nil {
		t.Fatal(err)
	}
	if got := string(j.buf[jobHeader+j.contextLen:]); got != body {
		t.Errorf("sdk/php gets %q", got)
	}
	for _, other := range []dialect{speaksProto, speaksJSON} {
		j.speak(other)
		if got, want := string(j.buf[jobHeader+j.contextLen:]), `{"b":"2","a":["1"," x"]}`; got != want || !j.source.parsed {
			t.Errorf("dialect %d gets %q, parsed %t, want %q", other, got, j.source.parsed, want)
		}
	}
}

func TestRawFormIsBounded(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("a", maxForm+1)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := new(Pool).fill(r, getJob(speaksNative)); err == nil {
		t.Error("a form beyond the limit was read")
	}
}
