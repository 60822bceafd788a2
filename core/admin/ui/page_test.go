package ui

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/browser"
)

// moments are what a server says at one time and two seconds later. Names try to be markup.
const (
	before = `{"time":"2026-11-21T13:00:00Z","status":{"version":"1.2.3","pid":4711,"started":"2026-11-21T12:00:00Z","addresses":["http://127.0.0.1:8080"],"ready":true},
"routes":[{"name":"app","classes":[0,100,0,0,2],"in_flight":0,"buckets":[50,50,2],"bounds":[0.001,0.01]}],"workers":[],"plugins":[],"stores":[],"services":[],
"connections":{"listeners":[],"websockets":[],"rpc":0}}`

	after = `{"time":"2026-11-21T13:00:02Z","status":{"version":"1.2.3","pid":4711,"started":"2026-11-21T12:00:00Z","addresses":["http://127.0.0.1:8080"],"ready":false,
"degraded":["plugin a: <b>its file</b> is gone"]},
"routes":[{"name":"app","classes":[0,280,0,0,22],"in_flight":3,"buckets":[150,148,4],"bounds":[0.001,0.01]},
{"name":"<img src=x onerror=alert(1)>","classes":[0,4,0,0,0],"in_flight":0,"buckets":[0,0,4],"bounds":[0.001,0.01]}],
"workers":[{"name":"app","requests":302,"queued":7,"rejected":5,"workers":[{"pid":1,"state":"idle","requests":150,"age_ns":3661000000000,"memory":1048576},{"pid":2,"state":"busy","requests":152,"age_ns":5000000000,"memory":1048576}]}],
"plugins":[{"name":"stamp","requests":12,"errors":1,"instances":2,"p50_ns":1500,"p99_ns":2000000,"memory":65536,"generation":3,"last_error":"trap: <script>"}],
"stores":[{"name":"cache","driver":"memory","keys":7,"bytes":2048,"hits":3,"misses":1}],
"services":[{"name":"queue","command":"php q","restarts":4,"failures":1,"processes":[{"pid":1,"memory":1024},{"pid":0,"problem":"exit status 1"}]}],
"connections":{"listeners":[{"network":"tcp","address":"127.0.0.1:8080","open":5,"accepted":90}],"websockets":[{"name":"raw/chat","open":2,"channels":4,"delivered":9}],"rpc":1}}`
)

// moment is a server that says what it is told to.
type moment struct {
	mu   sync.Mutex
	text string
	err  error
}

func (m *moment) set(text string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text, m.err = text, err
}

func (m *moment) look(context.Context) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return json.RawMessage(m.text), m.err
}

// TestPageInABrowser: what Chromium makes of two moments; what becomes of a server that goes; and of a link that is used twice.
func TestPageInABrowser(t *testing.T) {
	m := &moment{text: before}
	s := newServer(m.look)
	listener := httptest.NewServer(s)
	t.Cleanup(listener.Close)
	b := browser.Start(t)
	link := listener.URL + "/#" + s.Key()
	tab := b.Open(t, link)
	text := func(selector, want string) {
		t.Helper()
		tab.Eventually(t, `document.querySelector(`+quoted(selector)+`)?.textContent === `+quoted(want))
	}
	text("#state", "ready")
	text(`[data-tile="rate"]`, "0.0")
	if hash := tab.Do(t, `location.href`); hash != listener.URL+"/" {
		t.Errorf("the key stays in the address: %v", hash)
	}
	pause := `document.querySelector("#pause").click()`
	tab.Do(t, pause)
	tab.Do(t, `document.querySelector("#every").append(new Option("1 h", "3600000", true, true))`) // the look after the next would see that nothing has happened since
	m.set(after, nil)
	s.looking.Lock()
	s.asked = time.Time{} // so that nothing is fresh
	s.looking.Unlock()
	tab.Do(t, pause) // looks at once
	text(`[data-tile="running"]`, "3")
	for selector, want := range map[string]string{
		`[data-tile="rate"]`: "102.0", `[data-tile="errors"]`: "10.0", `[data-tile="open"]`: "5", `[data-tile="busy"]`: "1 / 2", `[data-tile="queued"]`: "7",
		`[data-table="routes"] tbody tr:nth-child(1)`: "app" + "100.0" + "10.0" + "3" + "1.0 ms" + "10.0 ms" + "302" + "22",
		`[data-table="routes"] tbody tr:nth-child(2)`: "<img src=x onerror=alert(1)>" + "2.0" + "0.0" + "0" + "> 10 s" + "> 10 s" + "4" + "0",
		`[data-table="pools"] tbody tr`:               "app" + "2" + "1" + "1" + "7" + "5" + "302" + "2.0 MiB",
		`[data-table="workers"] tbody tr`:             "app 1" + "idle" + "150" + "1h 1m" + "1.0 MiB",
		`[data-table="plugins"] tbody tr`:             "stamp" + "12" + "1" + "2" + "2 µs" + "2.0 ms" + "64.0 KiB" + "3" + "trap: <script>",
		`[data-table="stores"] tbody tr`:              "cache" + "memory" + "7" + "75 %" + "2.0 KiB",
		`[data-table="listeners"] tbody tr`:           "tcp 127.0.0.1:8080" + "5" + "90",
		`[data-table="websockets"] tbody tr`:          "raw/chat" + "2" + "4" + "9",
		`[data-table="services"] tbody tr`:            "queue" + "1 / 2" + "4" + "1" + "1.0 KiB" + "exit status 1",
		`#degraded`:                                   "plugin a: <b>its file</b> is gone",
	} {
		if got := tab.Do(t, `document.querySelector(`+quoted(selector)+`)?.textContent`); got != want {
			t.Errorf("%s: %q, want %q", selector, got, want)
		}
	}
	for expression, want := range map[string]any{
		`document.querySelectorAll("#charts svg polyline, #charts svg polygon").length`:                                      14.0,
		`document.querySelector('[data-chart="requests"] svg').getAttribute("aria-label")`:                                   "Requests / s, by status: 2xx 92.0, 3xx 0.0, 4xx 0.0, 5xx 10.0, 1xx 0.0",
		`document.images.length + document.querySelectorAll("b, #tables script").length`:                                     0.0,
		`fetch("reload", {method: "POST"}).then((r) => r.status)`:                                                            405.0,
		`fetch("overview").then((r) => r.status)`:                                                                            401.0,
		`fetch("https://example.com/").then(() => "reached", () => "refused")`:                                               "refused", // by the policy
		`new Promise((done) => { try { document.body.innerHTML = "<b>x</b>"; done("written") } catch { done("refused") } })`: "refused",
	} {
		if got := tab.Do(t, expression); got != want {
			t.Errorf("%s: %v, want %v", expression, got, want)
		}
	}

	// A server that goes, and comes back.
	m.set("", http.ErrServerClosed)
	tab.Do(t, `{ const every = document.querySelector("#every"); every.value = "1000"; every.dispatchEvent(new Event("change")); }`)
	text("#state", "lost")
	text("#problem", "http: Server closed – trying again")
	m.set(before, nil)
	tab.Eventually(t, `document.querySelector("#state").textContent === "ready" && document.querySelector("#problem").hidden`)

	// The session outlives a reload of the page; the link does not open another browser.
	tab.Go(t, listener.URL+"/?again")
	text("#state", "ready")
	other := browser.Start(t).Open(t, link)
	other.Eventually(t, `document.querySelector("#problem").textContent.includes("has been used already")`)
	if other.Do(t, `document.querySelector("#main").hidden`) != true {
		t.Error("it shows something")
	}
	if dark := tab.Do(t, `getComputedStyle(document.documentElement).getPropertyValue("--back").trim()`); !strings.HasPrefix(dark.(string), "#") {
		t.Errorf("no colours: %v", dark)
	}
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}
