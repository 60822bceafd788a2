package core

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/raw"
)

// FuzzRawClosing: whatever PHP says, a close frame gets a code that clients may see, and a text.
func FuzzRawClosing(f *testing.F) {
	for _, text := range []string{"", "1000", "4001 as you wish", "1005", "99999999999999999999", "-1 x", "4000 \xff", " 4000"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := phpAnswer{header: http.Header{"X-Ws-Close": {text}}}
		code, reason, ok := a.closing()
		if ok != (text != "") || ok && !sendableCode(int(code)) || !utf8.ValidString(reason) {
			t.Errorf("%q: %d %q %v", text, code, reason, ok)
		}
	})
}

// TestRawProblems: who writes an application hears of headers that cannot be used.
func TestRawProblems(t *testing.T) {
	for text, want := range map[string]string{
		"1000": "", "4000 bye": "", "1011 mine": "", "999 x": "3000 to 4999", "1005": "3000 to 4999", "1016": "3000 to 4999", "2999": "3000 to 4999",
		"5000": "3000 to 4999", "bye": "3000 to 4999",
	} {
		a := phpAnswer{header: http.Header{"X-Ws-Close": {text}}}
		if got := a.closeProblem(); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q", text, got)
		}
		if code, reason, _ := a.closing(); want != "" && (code != ws.CloseInternal || reason == "") {
			t.Errorf("%q: %d %q", text, code, reason)
		}
	}
	many := url.Values{}
	for i := range raw.MaxAttributes + 1 {
		many.Set(strconv.Itoa(i), "x")
	}
	for text, want := range map[string]string{
		"a=1&b=2": "", "a=" + strings.Repeat("x", raw.MaxAttribute): "may have", "a=%zz&b=1": "%zz", "=1": "names", many.Encode(): "at most",
	} {
		a := phpAnswer{header: http.Header{"X-Ws-Set": {text}}}
		if got := a.setAttributes(new(ws.Conn)); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%.50q: %q, want %q", text, got, want)
		}
	}
	full := new(ws.Conn)
	for i := range raw.MaxAttributes {
		full.Set(strconv.Itoa(i), "x")
	}
	for _, text := range []string{"7=&new=y", "new=&7=y", "unknown="} { // in whatever order
		a := phpAnswer{header: http.Header{"X-Ws-Set": {text}}}
		if got := a.setAttributes(full); got != "" {
			t.Errorf("%q: %q", text, got)
		}
	}
}
