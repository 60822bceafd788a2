package php

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/internal/testenv"
)

// TestNativeEqualsProtobuf gives both contexts of many requests to a real PHP, which has to see the same in them.
func TestNativeEqualsProtobuf(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	requests := []*http.Request{browserRequest(), httptest.NewRequest("GET", "/", nil), httptest.NewRequest("OPTIONS", "*", nil)}
	for range testenv.Count(500, 20_000) {
		requests = append(requests, randomRequest(rng))
	}
	var input []byte
	for i, r := range requests {
		parsed, body, uploads := i%5 == 0, "the body", []byte(nil)
		if parsed {
			body = `{"a":{"b":["1","é"]},"7":"seven"}`
			uploads = []byte(`{"f":{"name":"x","mime":"","size":1,"error":0,"tmpName":"/tmp/x"}}`)
		}
		source := contextOf{request: r, parsed: parsed, uploads: uploads}
		native, proto := source.append(nil, speaksNative), source.append(nil, speaksProto)
		if i%7 == 0 {
			native = speaksNative.withBodyFile(native, "/tmp/body \"x\"")
			proto = speaksProto.withBodyFile(proto, "/tmp/body \"x\"")
		}
		for _, text := range [][]byte{native, proto, []byte(body)} {
			input = binary.LittleEndian.AppendUint32(input, uint32(len(text)))
			input = append(input, text...)
		}
	}
	cmd := exec.Command(testenv.PHP(t), "testdata/native.php")
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("%d records\n", len(requests)); err != nil || string(output) != want {
		t.Errorf("%v: %.2000s", err, output)
	}
}

// randomRequest has names and values of all kinds.
func randomRequest(rng *rand.Rand) *http.Request {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	r := httptest.NewRequest(pick("GET", "POST", "PURGE"), "/", nil)
	r.URL = &url.URL{Path: pick("/", "/a b", "/é", "/%", "", "/0", "//x"), RawQuery: pick("", "a=1", "a[b]=1&a[c]=2", "\xff \x00", "0", "é=\"")}
	r.Host = pick("example.com", "example.com:8080", "[::1]:80", "0")
	r.RemoteAddr = pick("192.0.2.1:1", "[2001:db8::1]:2", "@", "")
	for range rng.IntN(12) {
		value := make([]byte, rng.IntN(40)*rng.IntN(10))
		for i := range value {
			value[i] = byte(rng.IntN(256))
		}
		name := pick("X-A", "X-B", "123", "-1", "0", "00", "9223372036854775807", "9223372036854775808", "-0", "-9223372036854775808", "Accept", "X\"Quote")
		r.Header[name] = append(r.Header[name], string(value))
	}
	for range rng.IntN(4) {
		r.Header["Cookie"] = append(r.Header["Cookie"], pick("a=1; b=2", "a=3", "7=seven; 07=x", "x=%41%zz", "x=%00%22", ";;=;a", "s=\"quoted\"; t=a+b"))
	}
	for range rng.IntN(3) {
		r = WithAttribute(r, pick("user", "5", "roles"), slices.Repeat([]string{"é\"", ""}, 1+rng.IntN(2))...)
	}
	return r
}

// FuzzNative reads what appendNative wrote with a parser of its own: whatever a client sends, it stays a text in its place.
func FuzzNative(f *testing.F) {
	f.Add("/", "a=1", "X-A", "value", "c=1; d=%41", "192.0.2.1:80", "example.com")
	f.Add("/\"", "\";}", "0", "\";i:1;s:1:\"x", "a\";}=\"b\"", "", "[::1]")
	f.Fuzz(func(t *testing.T, path, query, name, value, cookies, addr, host string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL, r.RemoteAddr, r.Host = &url.URL{Path: path, RawQuery: query}, addr, host
		r.Header = http.Header{name: {value, value + value}, "Cookie": {cookies}, "X-Other": {""}}
		b := appendNative(nil, r, formNone, []byte(value))
		if again := speaksNative.withBodyFile(slices.Clone(b), value); string(again[:len(b)-len(noBodyFile)]) != string(b[:len(b)-len(noBodyFile)]) {
			t.Error("the body's file changes what is before it")
		}
		top := unserialized(t, string(b)).(map[string]any)
		if len(top) != 13 || top["4"] != cleanQuery(query) || top["10"] != value || top["6"] != hostOf(r) || top["11"] != "" || top["12"] != "" {
			t.Errorf("context %q", b)
		}
		want := map[string]any{}
		for name, values := range r.Header {
			if name == "Host" {
				continue
			}
			list := map[string]any{}
			for i, v := range values {
				list[strconv.Itoa(i)] = v
			}
			want[name] = list
		}
		if diff := cmp.Diff(want, unserialized(t, top["7"].(string))); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
	})
}

// unserialized reads what PHP's unserialize() reads, as far as a context goes: strings, and arrays of them.
func unserialized(t *testing.T, s string) any {
	t.Helper()
	v, rest := unserializeOne(t, s)
	if rest != "" {
		t.Fatalf("%q is left of %q", rest, s)
	}
	return v
}

func unserializeOne(t *testing.T, s string) (any, string) {
	t.Helper()
	head, rest, ok := strings.Cut(s[min(2, len(s)):], ":")
	if strings.HasPrefix(s, "i:") {
		number, after, _ := strings.Cut(s[2:], ";")
		return number, after
	}
	n, err := strconv.Atoi(head)
	switch {
	case !ok || err != nil:
		t.Fatalf("no length in %.100q", s)
	case strings.HasPrefix(s, "s:") && len(rest) >= n+3 && rest[0] == '"' && rest[n+1:n+3] == `";`:
		return rest[1 : n+1], rest[n+3:]
	case strings.HasPrefix(s, "a:") && strings.HasPrefix(rest, "{"):
		list := map[string]any{}
		rest = rest[1:]
		for range n {
			var key, value any
			key, rest = unserializeOne(t, rest)
			value, rest = unserializeOne(t, rest)
			list[key.(string)] = value
		}
		if strings.HasPrefix(rest, "}") {
			return list, rest[1:]
		}
	}
	t.Fatalf("cannot read %.100q", s)
	return nil, ""
}

func BenchmarkAppendNative(b *testing.B) {
	r := browserRequest()
	buf := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendNative(buf[:0], r, formNone, nil)
	}
}
