package httpserver

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quic-go/qpack"
)

// readH3Head reads a frame as quic-go's client does.
func readH3Head(t testing.TB, frame []byte) (status string, header http.Header) {
	t.Helper()
	if len(frame) < 3 || frame[0] != h3Headers || frame[1]&0xc0 != 0x40 {
		t.Fatalf("% x does not begin a frame of headers", frame[:min(len(frame), 3)])
	}
	if n := int(frame[1]&0x3f)<<8 | int(frame[2]); n != len(frame)-3 {
		t.Fatalf("the frame says %d bytes, and has %d", n, len(frame)-3)
	}
	header = http.Header{}
	for next := qpack.NewDecoder().Decode(frame[3:]); ; {
		field, err := next()
		if errors.Is(err, io.EOF) {
			return status, header
		}
		if err != nil {
			t.Fatalf("% x: %v", frame, err)
		}
		if field.Name == ":status" {
			status += field.Value
			continue
		}
		header[field.Name] = append(header[field.Name], field.Value)
	}
}

// TestH3HeadIsWhatQuicGoReads sends every status, and every name with the values that the static table may have for it and others.
func TestH3HeadIsWhatQuicGoReads(t *testing.T) {
	t.Parallel()
	names := []string{
		"Accept-Ranges", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Age", "Alt-Svc", "Cache-Control",
		"Content-Disposition", "Content-Encoding", "Content-Length", "Content-Security-Policy", "Content-Type", "Date", "Etag", "Last-Modified", "Link", "Location",
		"Server", "Set-Cookie", "Strict-Transport-Security", "Timing-Allow-Origin", "Vary", "X-Content-Type-Options", "X-Frame-Options", "X-Xss-Protection",
		"Permissions-Policy", "X", "X-Abc", "X-Abcd", "X-Abcde", "X-A-Name-Of-Thirty-Two-Characters", strings.Repeat("Long-", 60) + "Name",
	}
	for status := 200; status <= 999; status++ {
		frame, ok := appendH3Head(nil, status, nil)
		if got, _ := readH3Head(t, frame); !ok || got != strconv.Itoa(status) {
			t.Errorf("%d arrives as %q", status, got)
		}
	}
	for _, name := range names {
		_, same := staticName(name)
		for _, value := range []string{
			same, "", "x", same + "x", strings.Repeat("v", huffmanFrom-1), strings.Repeat("v", huffmanFrom), strings.Repeat("v", 126), strings.Repeat("v", 127), strings.Repeat("~", 200),
			strings.Repeat("v", 128), strings.Repeat("value ", 400), "\u00fc\u20ac",
		} {
			frame, ok := appendH3Head([]byte("before"), 200, http.Header{name: {value, "second"}})
			_, got := readH3Head(t, frame[len("before"):])
			if !ok || len(got) != 1 || !slices.Equal(got[strings.ToLower(name)], []string{value, "second"}) {
				t.Errorf("%s: %q arrives as %q", name, value, got)
			}
		}
	}
}

func TestH3HeadsForQuicGo(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]http.Header{
		"trailers that are announced": {"Trailer": {"X-End"}},
		"trailers that are not":       {http.TrailerPrefix + "X-End": {"1"}},
		"more than a length says":     {"X-Long": {strings.Repeat("\x7f", maxH3Head)}},
	} {
		if _, ok := appendH3Head(nil, 200, header); ok {
			t.Errorf("%s: sent", name)
		}
	}
}

func FuzzH3Head(f *testing.F) {
	f.Add(200, "Content-Type", "text/html; charset=utf-8", "X-Y", "z")
	f.Add(999, "A", strings.Repeat("long", 100), "Etag", `"1"`)
	f.Fuzz(func(t *testing.T, status int, name1, value1, name2, value2 string) {
		header := http.Header{}
		for _, field := range [][2]string{{name1, value1}, {name2, value2}} {
			if name := http.CanonicalHeaderKey(field[0]); name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == "" {
				header[name] = append(header[name], field[1])
			}
		}
		status = 200 + int(uint(status)%800)
		frame, ok := appendH3Head(nil, status, header)
		if !ok {
			return
		}
		gotStatus, got := readH3Head(t, frame)
		want := http.Header{}
		for name, values := range header {
			want[strings.ToLower(name)] = values
		}
		if gotStatus != strconv.Itoa(status) || !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%d %q arrives as %s %q", status, want, gotStatus, got)
		}
	})
}
