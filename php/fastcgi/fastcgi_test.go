package fastcgi_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/edge-server/edge/php/fastcgi"
)

func record(t fastcgi.Type, content string) []byte {
	return append(fastcgi.AppendHeader(nil, t, 1, len(content)), content...)
}

// The bytes of FastCGI 1.0, section 5.1 and appendix B.
func newReader(r io.Reader) *fastcgi.Reader {
	reader := fastcgi.NewReader(r)
	reader.Expect(1)
	return reader
}

func TestGoldenRequest(t *testing.T) {
	w := fastcgi.NewParamWriter(fastcgi.AppendBegin(nil, 1), 1)
	w.Add("A", "b")
	w.Add("LONG", strings.Repeat("x", 200))
	w.AddHeader("X-Some-Name", []string{"1", "2"}, ", ")
	b, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	want := "\x01\x01\x00\x01\x00\x08\x00\x00" + "\x00\x01\x01\x00\x00\x00\x00\x00" +
		"\x01\x04\x00\x01\x00\xf3\x00\x00" +
		"\x01\x01Ab" + "\x04\x80\x00\x00\xc8LONG" + strings.Repeat("x", 200) + "\x10\x04HTTP_X_SOME_NAME1, 2"
	want = strings.Replace(want, "\x00\xf3", string([]byte{0, byte(len(want) - 24)}), 1)
	if string(b) != want {
		t.Errorf("got  %q\nwant %q", b, want)
	}
}

func TestParametersNeverSpanRecords(t *testing.T) {
	w := fastcgi.NewParamWriter(nil, 1)
	for range 10 {
		w.Add("NAME", strings.Repeat("v", 30000))
	}
	b, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	pairs := 0
	for r := newReader(bytes.NewReader(b)); ; {
		kind, content, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil || kind != fastcgi.Params || len(content)%30009 != 0 {
			t.Fatalf("type %d, %d bytes, %v", kind, len(content), err)
		}
		pairs += len(content) / 30009
	}
	if pairs != 10 {
		t.Errorf("%d pairs, want 10", pairs)
	}
	w = fastcgi.NewParamWriter(nil, 1)
	w.Add("NAME", strings.Repeat("v", 65536))
	if _, err := w.End(); !errors.Is(err, fastcgi.ErrTooLong) {
		t.Errorf("a pair that fits nowhere: %v", err)
	}
}

func TestReaderTakesBytesAsTheyCome(t *testing.T) {
	b := record(fastcgi.Stdout, "first")
	b = append(b, record(fastcgi.Stdout, strings.Repeat("x", fastcgi.MaxContent))...)
	padded := record(fastcgi.Stderr, "padded")
	padded[6] = 3
	b = append(append(b, padded...), "\x00\x00\x00"...)
	b = append(b, record(fastcgi.EndRequest, "\x00\x00\x00\x03\x00\x00\x00\x00")...)
	for _, from := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.TimeoutReader(iotest.HalfReader(bytes.NewReader(b)))} {
		r := newReader(from)
		var got []string
		for {
			_, content, err := r.Next()
			if errors.Is(err, iotest.ErrTimeout) {
				continue // nothing is lost
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(content[:min(len(content), 10)]))
		}
		if want := "first,xxxxxxxxxx,padded,\x00\x00\x00\x03\x00\x00\x00\x00"; strings.Join(got, ",") != want {
			t.Errorf("got %q", got)
		}
	}
}

func TestHead(t *testing.T) {
	for text, want := range map[string]string{
		"Content-type: text/html\r\n\r\nbody":       "200 [Content-type=text/html] body",
		"Status: 404 Not Found\nX: y\n\nbody\n\n":   "404 [X=y] body\n\n",
		"Location: /a\r\n\r\n":                      "302 [Location=/a] ",
		"Status: 201\r\nLocation: /a\r\n\r\n":       "201 [Location=/a] ",
		"HTTP/1.1 403 Forbidden\r\nX:  y \r\n\r\nb": "403 [X=y] b",
		"\r\nbody": "200 [] body",
		"\nbody":   "200 [] body",
		"Set-Cookie: a\r\nSet-Cookie: b:c\r\n\r\n\r\nbb": "200 [Set-Cookie=a Set-Cookie=b:c] \r\nbb",
		"Status: 99\r\n\r\n":                             "error",
		"Status: 100 Continue\r\n\r\n":                   "error",
		"Status: 2000\r\n\r\n":                           "error",
		"no colon\r\n\r\n":                               "error",
		": empty\r\n\r\n":                                "error",
		"Content-type: text/html\r\n":                    "no end",
	} {
		got := describe([]byte(text))
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func describe(b []byte) string {
	end := fastcgi.HeadEnd(b, 0)
	if end < 0 {
		return "no end"
	}
	var h fastcgi.Head
	if h.Parse(b[:end]) != nil {
		return "error"
	}
	var s strings.Builder
	s.WriteString(string([]byte{byte('0' + h.Status/100), byte('0' + h.Status/10%10), byte('0' + h.Status%10)}) + " [")
	for i, f := range h.Fields {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.Write(f.Name)
		s.WriteByte('=')
		s.Write(f.Value)
	}
	return s.String() + "] " + string(b[end:])
}

func FuzzReader(f *testing.F) {
	f.Add(append(record(fastcgi.Stdout, "Status: 200\r\n\r\nbody"), record(fastcgi.EndRequest, "\x00\x00\x00\x00\x00\x00\x00\x00")...))
	f.Add([]byte("\x01\x06\x00\x01\xff\xff\xff\x00short"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, slow := newReader(bytes.NewReader(b)), newReader(iotest.OneByteReader(bytes.NewReader(b)))
		for {
			kind, content, err := r.Next()
			slowKind, slowContent, slowErr := slow.Next()
			if kind != slowKind || !bytes.Equal(content, slowContent) || (err == nil) != (slowErr == nil) {
				t.Fatalf("%d %q %v, byte by byte %d %q %v", kind, content, err, slowKind, slowContent, slowErr)
			}
			if err != nil {
				return
			}
			if len(content) > fastcgi.MaxContent {
				t.Fatalf("a record of %d bytes", len(content))
			}
			_, _ = fastcgi.ParseEnd(content)
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add([]byte("Status: 404 Not Found\r\nContent-type: text/html\r\n\r\nbody"))
	f.Add([]byte("\n"))
	f.Add([]byte("a:b\n\r\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := fastcgi.HeadEnd(b, 0)
		// However the bytes come, the end is found where it is.
		for i := range b {
			got := fastcgi.HeadEnd(b[:i+1], i)
			if got >= 0 {
				if got != end {
					t.Fatalf("%q: the end is at %d, byte by byte at %d", b, end, got)
				}
				break
			}
			if i+1 == len(b) && end >= 0 {
				t.Fatalf("%q: the end at %d is not found byte by byte", b, end)
			}
		}
		if end < 0 {
			return
		}
		var h fastcgi.Head
		if h.Parse(b[:end]) != nil {
			return
		}
		if h.Status < 200 || h.Status > 599 {
			t.Fatalf("status %d", h.Status)
		}
		for _, field := range h.Fields {
			if len(field.Name) == 0 || bytes.ContainsAny(field.Name, ":\n") || bytes.ContainsAny(field.Value, "\n") {
				t.Fatalf("field %q: %q", field.Name, field.Value)
			}
		}
	})
}
