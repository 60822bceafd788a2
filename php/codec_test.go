package php

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// browserRequest has the headers that a browser sends.
func browserRequest() *http.Request {
	r := httptest.NewRequest("GET", "/products/42?color=red", nil)
	for name, value := range map[string]string{
		"User-Agent":      "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language": "en-US,en;q=0.5",
		"Accept-Encoding": "gzip, deflate, br, zstd",
		"Cookie":          "session=0123456789abcdef; theme=dark",
		"Sec-Fetch-Mode":  "navigate",
		"X-Forwarded-For": "192.0.2.1",
	} {
		r.Header.Set(name, value)
	}
	return r
}

// TestContextIsProtobuf reads a context with the reference implementation's parser.
func TestContextIsProtobuf(t *testing.T) {
	t.Parallel()
	r := browserRequest()
	r.Header["X-Long"] = []string{strings.Repeat("l", 300), "", "x"}
	b := appendContext(nil, r, true, []byte(`{"f":1}`))
	b = appendAttribute(b, "edge.body_file", "/tmp/"+strings.Repeat("p", 200))
	fields := map[protowire.Number][]string{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		value := b[:protowire.ConsumeFieldValue(number, kind, b)]
		b = b[len(value):]
		if kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(value)
			value = content
		}
		fields[number] = append(fields[number], string(value))
	}
	for number, want := range map[protowire.Number]string{
		1: "192.0.2.1", 2: "HTTP/1.1", 3: "GET", 4: "http://example.com/products/42?color=red", 7: "color=red", 8: "\x01", 9: `{"f":1}`,
	} {
		if got := fields[number]; len(got) != 1 || got[0] != want {
			t.Errorf("field %d = %q, want %q", number, got, want)
		}
	}
	if len(fields[5]) != len(r.Header) || len(fields[6]) != 2 || len(fields[10]) != 1 {
		t.Errorf("%d headers, %d cookies, %d attributes", len(fields[5]), len(fields[6]), len(fields[10]))
	}
	long := ""
	for _, entry := range fields[5] {
		if strings.Contains(entry, "X-Long") {
			long = entry
		}
	}
	values := protowire.AppendTag(nil, 1, protowire.BytesType)
	values = protowire.AppendString(values, strings.Repeat("l", 300))
	values = append(values, 0x0a, 0, 0x0a, 1, 'x')
	want := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "X-Long")
	want = protowire.AppendBytes(protowire.AppendTag(want, 2, protowire.BytesType), values)
	if long != string(want) {
		t.Errorf("entry of a long header %q, want %q", long, want)
	}
}

func TestRemoteIP(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:443": "2001:db8::1", "192.0.2.1": "192.0.2.1", "::1": "::1", "@": "", "": "", "host:80": "",
	} {
		if got := remoteIP(addr); got != want {
			t.Errorf("remoteIP(%q) = %q, want %q", addr, got, want)
		}
	}
}

func TestURI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*http.Request)
		want   string
	}{
		{func(*http.Request) {}, "http://example.com/a%20b?q=1"},
		{func(r *http.Request) { r.TLS = httptest.NewRequest("GET", "https://x/", nil).TLS }, "https://example.com/a%20b?q=1"},
		{func(r *http.Request) { r.URL.RawQuery = "q=1\r\nx" }, "http://example.com/a%20b?q=1x"},
		{func(r *http.Request) { r.URL.RawQuery = "q=\xff\x00 é" }, "http://example.com/a%20b?q=%FF%00%20%C3%A9"},
		{func(r *http.Request) { r.URL, _ = url.Parse("http://proxied.example/p") }, "http://proxied.example/p"},
		{func(r *http.Request) { r.URL, r.Method = &url.URL{Path: "*"}, "OPTIONS" }, "http://example.com/*"},
		{func(r *http.Request) { r.Host = "" }, "http://localhost/a%20b?q=1"},
		{func(r *http.Request) {
			r.Host = ""
			*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv6loopback, Port: 80}))
		}, "http://[::1]:80/a%20b?q=1"},
	} {
		r := httptest.NewRequest("GET", "/a%20b?q=1", nil)
		c.change(r)
		_, _, got, _, err := nextField(string(appendURI(nil, r, cleanQuery(r.URL.RawQuery))))
		if err != nil || got != c.want {
			t.Errorf("uri %q, %v; want %q", got, err, c.want)
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"a", "A-1.example.com:8080", "my_host", "192.0.2.1", "[2001:db8::1]", "[::1]:443", "a:", "a%20b"} {
		if !validHost(host) {
			t.Errorf("%q is refused", host)
		}
	}
	for _, host := range []string{"", ":80", "a b", "a@b", "u:p@a", "a:99999", "a:-1", "a:80:90", "a/b", "a?b", "a#b", "a\\b", "[::1", "[]", "[a]", "[::1%eth0]", "[192.0.2.1]", "a[b]", "a\r\nb", "a\x00", "é", "<a>", `"a"`} {
		if validHost(host) {
			t.Errorf("%q is taken", host)
		}
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	type fields [][2]string
	deep := "a" + strings.Repeat("[x]", maxDepth)
	for _, c := range []struct {
		fields fields
		want   string // or the beginning of an error
	}{
		{nil, ""},
		{fields{{"b", "1"}, {"a", "2"}, {"b", "3"}}, `{"b":"3","a":"2"}`},
		{fields{{"k[]", "1"}, {"k[]", "2"}}, `{"k":["1","2"]}`},
		{fields{{"k[z]", "1"}, {"k[a][b]", "2"}, {"k[a][c][]", "3"}}, `{"k":{"z":"1","a":{"b":"2","c":["3"]}}}`},
		{fields{{"k[0]", "x"}, {"k[10]", "y"}}, `{"k":{"0":"x","10":"y"}}`},
		{fields{{"a b[ c ]", "1"}}, `{"ab":{"c":"1"}}`},
		{fields{{"a[b", "1"}, {"c]d", "2"}, {"e[", "3"}}, `{"a":{"b":"1"},"c":{"d":"2"},"e":"3"}`},
		{fields{{"a[][b]", "1"}}, `{"a":{"":{"b":"1"}}}`},
		{fields{{"a", "1"}, {"a[b]", "2"}}, "error"},
		{fields{{"a[b]", "2"}, {"a", "1"}}, "error"},
		{fields{{"a[]", "2"}, {"a[b]", "1"}}, "error"},
		{fields{{"a", ""}, {"a[b]", "2"}}, `{"a":{"b":"2"}}`},
		{fields{{"a[b]", "2"}, {"a", ""}}, `{"a":{"b":"2"}}`},
		{fields{{"a", ""}, {"a[]", "2"}}, `{"a":["2"]}`},
		{fields{{deep, "dropped"}, {"b", "1"}}, `{"b":"1"}`},
		{fields{{"quote\"\n", "\x00\\\xff☺"}}, `{"quote\"\u000a":"\u0000\\` + "\uFFFD" + `☺"}`},
	} {
		tr, err := newTree(), error(nil)
		for _, f := range c.fields {
			if err == nil {
				err = tr.addValue(f[0], f[1])
			}
		}
		got := string(tr.appendJSON(nil))
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%v = %s (%v), want %s", c.fields, got, err, c.want)
		}
	}
	files := newTree()
	if err := files.addFile("f", `{"n":1}`); err != nil {
		t.Fatal(err)
	}
	if err := files.addFile("f", `{"n":2}`); err != nil {
		t.Fatal(err)
	}
	if got := string(files.appendJSON(nil)); got != `{"f":{"n":1}}` {
		t.Errorf("the first file wins: %s", got)
	}
}

func TestTreeIsBounded(t *testing.T) {
	t.Parallel()
	tr := newTree()
	var err error
	for i := 0; err == nil && i < 10*maxNodes; i++ {
		err = tr.addValue(fmt.Sprint("k", i, strings.Repeat("[x]", i%100)), "")
	}
	if statusFor(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("endless form: %v", err)
	}
}

func TestNoAllocationsInCodec(t *testing.T) {
	r := browserRequest()
	var b []byte
	var h head
	answer := string(answerContext)
	if n := testing.AllocsPerRun(100, func() {
		b = appendContext(b[:0], r, false, nil)
		if err := h.decode(answer); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per request", n)
	}
}

// answerContext is a head with four fields.
var answerContext = func() []byte {
	b := []byte{8, 200, 1}
	b = appendEntry(b, 2, "Content-Type", []string{"application/json"})
	b = appendEntry(b, 2, "Cache-Control", []string{"no-store"})
	return appendEntry(b, 2, "Set-Cookie", []string{"a=1; HttpOnly", "b=2"})
}()

func FuzzResponseHead(f *testing.F) {
	f.Add(string(answerContext))
	f.Add("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Add("\x12\x05\x0a\x01A\x12\x00")
	f.Add("\x12\xff\xff\xff\xff\x0f")
	f.Fuzz(func(t *testing.T, context string) {
		var h head
		if h.decode(context) != nil {
			return
		}
		if h.status != 0 && (h.status < 100 || h.status > 599) {
			t.Fatalf("status %d", h.status)
		}
		names, _ := h.trailers()
		_ = names
		header := http.Header{}
		h.addTo(header, true)
		for name, values := range header {
			for _, text := range append(values, name) {
				if strings.ContainsAny(text, "\r\n\x00") {
					t.Fatalf("header %q: %q reaches the client", name, values)
				}
			}
		}
	})
}

func FuzzFormTree(f *testing.F) {
	f.Add("a=1&a[b][]=2&c[]=3&c[]=4&d[x=5&]e=6&a b=7")
	f.Add("a[]=&a=1&[]=2&[x]=3&=")
	f.Fuzz(func(t *testing.T, form string) {
		tr := newTree()
		for field := range strings.SplitSeq(form, "&") {
			key, value, _ := strings.Cut(field, "=")
			if tr.addValue(unescape(key), unescape(value)) != nil {
				return
			}
		}
		text := tr.appendJSON(nil)
		if len(text) == 0 {
			return
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatalf("%q makes %s: %v", form, text, err)
		}
	})
}

func FuzzCookies(f *testing.F) {
	f.Add(`a=1; b="x y"; c=%20; =x; d`)
	f.Fuzz(func(t *testing.T, line string) {
		b := string(appendCookies(nil, line))
		for b != "" {
			number, _, entry, rest, err := nextField(b)
			if err != nil || number != fieldCookies || len(rest) >= len(b) {
				t.Fatalf("cookies of %q: field %d, %v", line, number, err)
			}
			var h head
			if err := h.decodeEntry(entry); err != nil && strings.Contains(err.Error(), "http.v1.Response") {
				t.Fatalf("entry of %q: %v", line, err)
			}
			b = rest
		}
	})
}

// TestFenceBytes is what RoadRunner's handshake sends, which its workers answer whenever they ask for work.
func TestFenceBytes(t *testing.T) {
	t.Parallel()
	if want := "\x13\x09\x09\x00\x00\x00\x6d\xfc\x98\x44\x00\x00" + `{"pid":1}`; string(fenceFrame) != want {
		t.Errorf("fence %x, want %x", fenceFrame, want)
	}
	j := getJob(speaksProto)
	defer putJob(j)
	j.buf = append(j.buf, "\x0a\x00abc"...)
	j.contextLen = 2
	b, _, err := j.frameFor(false, 1<<20)
	want := string(fenceFrame) + "\x14\x80\x05\x00\x00\x00\x8e\xa1\xbd\xaf\x00\x00\x02\x00\x00\x00\x0a\x00abc"
	if err != nil || string(b) != want {
		t.Errorf("job %x, %v; want %x", b, err, want)
	}
}

func BenchmarkAppendContext(b *testing.B) {
	r := browserRequest()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendContext(buf[:0], r, false, nil)
	}
}

func BenchmarkDecodeHead(b *testing.B) {
	context := string(answerContext)
	var h head
	b.ReportAllocs()
	for b.Loop() {
		if err := h.decode(context); err != nil {
			b.Fatal(err)
		}
	}
}
