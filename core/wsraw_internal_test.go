package core

import (
	"net/http"
	"testing"
	"unicode/utf8"
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
