package php

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"
)

// jsonContext is the context as PHP sees it.
type jsonContext struct {
	RemoteAddr, Protocol, Method, URI, RawQuery string
	Headers                                     map[string][]string
	Cookies                                     map[string]string
	Parsed                                      bool
	Uploads                                     map[string]any
	Attributes                                  map[string]any
}

func readJSONContext(t *testing.T, b []byte) (c jsonContext) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if !utf8.Valid(b) {
		t.Fatalf("PHP refuses %q: it is not UTF-8", b)
	}
	return c
}

func TestJSONContext(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/a?q=1&%22=%5c", nil)
	r.Header = http.Header{"X-Many": {"one", "", "caf\xe9"}, "Cookie": {`a=1; a=2; b=%FF"`}, "Host": {"not this"}}
	r = WithAttribute(r, "user", "42")
	r = WithAttribute(WithAttribute(r, "roles", "a"), "roles", "b", "c")
	got := readJSONContext(t, appendJSONContext(nil, r, true, []byte(`{"f":{"name":"x"}}`)))
	want := jsonContext{
		RemoteAddr: "192.0.2.1", Protocol: "HTTP/1.1", Method: "POST", URI: "http://example.com/a?q=1&%22=%5c", RawQuery: "q=1&%22=%5c",
		Headers: map[string][]string{"X-Many": {"one", "", "caf\uFFFD"}, "Cookie": {`a=1; a=2; b=%FF"`}},
		Cookies: map[string]string{"a": "2", "b": "\uFFFD\""}, Parsed: true,
		Uploads:    map[string]any{"f": map[string]any{"name": "x"}},
		Attributes: map[string]any{"user": "42", "roles": []any{"b", "c"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("context %+v, want %+v", got, want)
	}

	r = httptest.NewRequest("GET", "/", nil)
	got = readJSONContext(t, appendJSONContext(nil, r, false, nil))
	if got.Parsed || got.Uploads != nil || len(got.Cookies)+len(got.Headers)+len(got.Attributes) > 0 {
		t.Errorf("a bare request: %+v", got)
	}
	r.URL.RawQuery = `"\`
	if got := readJSONContext(t, appendJSONContext(nil, r, false, nil)); got.URI != `http://example.com/?"\` || got.RawQuery != `"\` {
		t.Errorf("quotes in a query: %+v", got)
	}

	b := appendJSONContext(nil, r, false, nil)
	for range 2 { // for the next worker, too, from the same beginning
		named := appendJSONAttribute(b, "edge.body_file", "/tmp/a")
		if got := readJSONContext(t, named).Attributes["edge.body_file"]; got != "/tmp/a" {
			t.Errorf("attribute %v", got)
		}
	}
}

// TestWithAttribute replaces and removes, and leaves the request it was given alone.
func TestWithAttribute(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/", nil)
	one := WithAttribute(r, "a", "1")
	two := WithAttribute(one, "b", "2", "3")
	three := WithAttribute(two, "a", "4")
	none := WithAttribute(WithAttribute(three, "a"), "b")
	for _, c := range []struct {
		r    *http.Request
		want []attribute
	}{
		{r, nil},
		{one, []attribute{{"a", []string{"1"}}}},
		{two, []attribute{{"a", []string{"1"}}, {"b", []string{"2", "3"}}}},
		{three, []attribute{{"b", []string{"2", "3"}}, {"a", []string{"4"}}}},
		{none, []attribute{}},
	} {
		if got := attributesOf(c.r); !reflect.DeepEqual(got, c.want) {
			t.Errorf("attributes %v, want %v", got, c.want)
		}
	}
	if got := attributesOf(WithAttribute(r, "n\xff", "v\xff")); got[0].name != "n\uFFFD" || got[0].values[0] != "v\xff" {
		t.Errorf("names are text and values bytes, got %q", got)
	}
}

func TestJSONHeads(t *testing.T) {
	t.Parallel()
	for context, want := range map[string]string{
		`{"status":200,"headers":{"Content-Type":["text\/html; charset=utf-8"],"x-a":["1","\u00fc\ud83d\ude00\"\\"]}}`: `200 Content-Type=text/html; charset=utf-8 X-A=1 X-A=ü😀"\`,
		`{"status":404,"headers":{}}`:                                  "404",
		`{"status":204,"headers":[]}`:                                  "204",
		"{ \"headers\" : null ,\n\"status\":\t201 }":                   "201",
		`{"headers":{"A":"plain","B":[1,null],"C":{"1":"x","7":"y"}}}`: "0 A=plain B=1 B= C=x C=y",
		`{"status":200,"more":{"a":[1,{"b":"\ud83d"}]},"headers":{}}`:  "200",
		`{}`:                                    "0",
		`{"status":99}`:                         "error",
		`{"status":600}`:                        "error",
		`{"status":-1}`:                         "error",
		`{"status":2e2}`:                        "error",
		`{"status":"ok"}`:                       "error",
		`{"status":[200]}`:                      "error",
		`{"status":99999999999999999999999999}`: "error",
		`{"headers":{"A b":["v"]}}`:             "error",
		`{"headers":{"A":["v\r\nSet-Cookie:x"]}}`: "error",
		`{"headers":{"A":["v\u0000"]}}`:           "error",
		`{"headers":{"A":[["v"]]}}`:               "error",
		`{"headers":["A: v"]}`:                    "error",
		`{"status":200`:                           "error",
		`{"status":200}}`:                         "error",
		`{"status":200,}`:                         "error",
		`{"a":"\x"}`:                              "error",
		`{"a":"\u12g4"}`:                          "error",
		`{"a":` + strings.Repeat("[", 1000):       "error",
	} {
		var h head
		got := "error"
		if err := h.read([]byte(context)); err == nil {
			got = strings.TrimSpace(describeHead(&h))
		}
		if got != want {
			t.Errorf("%s\n read as %s\nwant     %s", context, got, want)
		}
	}
}

func describeHead(h *head) string {
	b, _ := json.Marshal(h.status)
	out := string(b)
	for _, f := range h.fields {
		out += " " + f.name + "=" + f.value
	}
	return out
}

// FuzzJSONHead compares with encoding/json what is taken.
func FuzzJSONHead(f *testing.F) {
	f.Add(`{"status":200,"headers":{"Content-Type":["text\/html"],"X-A":["\u00fc\ud83d\ude00\"\\"]}}`)
	f.Add("{ \"headers\" : null ,\n\"status\":\t201, \"x\":[1,-2.5e3,true,{\"a\":\"\\ud800\"}] }")
	f.Add(`{"headers":{"A":"plain","B":[1,null],"C":{"1":"x","7":"y"}}}`)
	f.Add(`{"headers":[],"status":5`)
	f.Fuzz(func(t *testing.T, context string) {
		if !utf8.ValidString(context) {
			return // encoding/json replaces what is not; here it is refused as a header, or none of it is used
		}
		var h head
		if h.decodeJSON([]byte(context)) != nil {
			return
		}
		if h.status != 0 && (h.status < 100 || h.status > 599) {
			t.Fatalf("status %d", h.status)
		}
		header := http.Header{}
		h.addTo(header, true)
		for name, values := range header {
			for _, text := range append(values, name) {
				if strings.ContainsAny(text, "\r\n\x00") {
					t.Fatalf("header %q: %q reaches the client", name, values)
				}
			}
		}
		var reference struct {
			Status  int                 `json:"status"`
			Headers map[string][]string `json:"headers"`
		}
		d := json.NewDecoder(strings.NewReader(context))
		if d.Decode(&reference) != nil || strings.Count(context, `"headers"`) != 1 || strings.Count(context, `"status"`) > 1 || strings.Contains(context, "null") {
			return // laxer than that in what numbers, lists and repeated keys mean
		}
		var want, got []string
		seen := map[string]bool{}
		for name, values := range reference.Headers {
			if seen[http.CanonicalHeaderKey(name)] {
				return
			}
			seen[http.CanonicalHeaderKey(name)] = true
			for _, v := range values {
				want = append(want, http.CanonicalHeaderKey(name)+"="+v)
			}
		}
		for _, field := range h.fields {
			got = append(got, field.name+"="+field.value)
		}
		sort.Strings(want)
		sort.Strings(got)
		if len(got) == len(want) && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: headers %q, want %q", context, got, want)
		}
	})
}

func FuzzJSONContext(f *testing.F) {
	f.Add("GET", "a=1", "X-A", "v\xff", "a=%FF", "n", "v\"")
	f.Fuzz(func(t *testing.T, method, query, name, value, cookie, attrName, attrValue string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.RawQuery = method, query
		r.Header[name] = []string{value, ""}
		r.Header["Cookie"] = []string{cookie}
		r = WithAttribute(r, attrName, attrValue)
		got := readJSONContext(t, appendJSONAttribute(appendJSONContext(nil, r, false, nil), "edge.body_file", "f"))
		if got.Attributes["edge.body_file"] != "f" || utf8.ValidString(method) && got.Method != method {
			t.Fatalf("context %+v of method %q", got, method)
		}
	})
}

func TestNoAllocationsInJSON(t *testing.T) {
	r := browserRequest()
	var b []byte
	if n := testing.AllocsPerRun(100, func() { b = appendJSONContext(b[:0], r, false, nil) }); n != 0 {
		t.Errorf("%v allocations per context", n)
	}
	answer := []byte(`{"status":200,"headers":{"Content-Type":["text/plain"],"Set-Cookie":["a=1","b=2"]}}`)
	var h head
	if n := testing.AllocsPerRun(100, func() {
		if err := h.read(answer); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations per head, want one", n)
	}
}

func BenchmarkJSONContext(b *testing.B) {
	r := browserRequest()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendJSONContext(buf[:0], r, false, nil)
	}
}

// pusher is a client of HTTP/2 that takes what is pushed, behind a middleware.
type pusher struct {
	*httptest.ResponseRecorder
	got []string
}

func (p *pusher) Push(target string, _ *http.PushOptions) error {
	p.got = append(p.got, target)
	return nil
}

type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestPush(t *testing.T) {
	t.Parallel()
	for proto, want := range map[int]int{1: 0, 2: 2} {
		p := &pusher{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest("GET", "/", nil)
		r.ProtoMajor = proto
		var h head
		if err := h.read([]byte(`{"headers":{"Http2-Push":["/a.css","/b.js"]}}`)); err != nil {
			t.Fatal(err)
		}
		sendHead(wrapped{p}, r, &h, 0)
		if len(p.got) != want || len(p.Header()["Http2-Push"]) != 2 {
			t.Errorf("HTTP/%d: pushed %v, headers %v", proto, p.got, p.Header())
		}
	}
}
