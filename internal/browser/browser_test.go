package browser_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edge-server/edge/internal/browser"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestBrowser(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<form onsubmit="event.preventDefault(); out.textContent += field.value"><input id="field"></form><p id="out"></p>`))
	}))
	t.Cleanup(s.Close)
	b := browser.Start(t)
	one, two := b.Open(t, s.URL), b.Open(t, s.URL)
	one.Type(t, "#field", "grün", true)
	one.Eventually(t, `out.textContent === "grün"`)
	if got := two.Do(t, `new Promise(done => setTimeout(() => done(out.textContent + 1), 1))`); got != "1" {
		t.Errorf("the other tab shows %v", got)
	}
	one.Do(t, `setTimeout(() => { throw new Error("as wanted") })`)
	two.Eventually(t, `true`)
	for len(one.Problems()) == 0 {
		one.Do(t, `new Promise(done => setTimeout(done, 5))`)
	}
	one.Forget()
}
