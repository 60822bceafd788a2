package mercure_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/mercure"
)

func TestPublishAndSubscribe(t *testing.T) {
	t.Parallel()
	h := start(t)
	exact := h.subscribe("", "topic", "https://example.com/books/1")
	template := h.subscribe("", "topic", "https://example.com/books/{id}", "topic", "unused")
	all := h.subscribe("", "topic", "*")

	id := h.publish("topic", "https://example.com/books/1", "data", "one\ntwo\r\nthree\rfour", "type", "changed", "retry", "1500")
	if !strings.HasPrefix(id, "urn:uuid:") {
		t.Errorf("id %q", id)
	}
	for _, s := range []*stream{exact, template, all} {
		if e := s.next(); e != (event{id, "changed", "one\ntwo\nthree\nfour", "1500"}) {
			t.Errorf("%+v", e)
		}
	}
	h.publish("topic", "https://example.com/books/2", "data", "second", "id", "urn:mine")
	if e := template.want("second"); e.id != "urn:mine" {
		t.Errorf("%+v", e)
	}
	// The alternate topics count, and nobody gets an update twice.
	h.publish("topic", "unused", "topic", "https://example.com/books/1", "topic", "https://example.com/books/3")
	exact.want("")
	template.want("")
	h.publish("topic", "other", "data", "for all")
	all.want("second")
	all.want("")
	all.want("for all")
	h.publish("topic", "https://example.com/books/1", "data", "end")
	exact.want("end")
	template.want("end")
	testenv.Eventually(t, "all is counted", func() bool {
		st := h.Stats()
		return st.Subscribers == 3 && st.Subscriptions == 4 && st.Published == 5 && st.Delivered == 3+2+3+1+3
	})
}

func TestRefusedPublications(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.Limits.Topics, c.Limits.Topic, c.Limits.Body = 3, 100, 4096 }))
	any := publisher(t, "*")
	for name, tt := range map[string]struct {
		token, body string
		status      int
		text        string
	}{
		"no topic":          {any, form("data", "x"), 400, "topic is missing"},
		"an empty topic":    {any, form("topic", ""), 400, "not empty"},
		"control character": {any, form("topic", "a\nb"), 400, "control"},
		"many topics":       {any, form("topic", "a", "topic", "b", "topic", "c", "topic", "d"), 413, "limits.topics"},
		"a giant topic":     {any, form("topic", strings.Repeat("a", 101)), 413, "limits.topic"},
		"a giant body":      {any, form("topic", "a", "data", strings.Repeat("a", 5000)), 413, "limits.body"},
		"id with #":         {any, form("topic", "a", "id", "#1"), 400, "id"},
		"id earliest":       {any, form("topic", "a", "id", "earliest"), 400, "id"},
		"id with lines":     {any, form("topic", "a", "id", "1\ndata: forged"), 400, "control"},
		"type with lines":   {any, form("topic", "a", "type", "x\r\ndata: forged"), 400, "control"},
		"retry":             {any, form("topic", "a", "retry", "1s"), 400, "retry"},
		"retry with lines":  {any, form("topic", "a", "retry", "1\ndata: forged"), 400, "retry"},
		"not UTF-8":         {any, "topic=a&data=%ff", 400, "UTF-8"},
		"no form":           {any, "topic=%zz", 400, "form"},
		"the hub's topics":  {any, form("topic", "/.well-known/mercure/subscriptions/a/b"), 400, "its own"},
		"in disguise":       {any, form("topic", "https://x/a/../.well-known/%6dercure/subscriptions/a"), 400, "its own"},
		"no token":          {"", form("topic", "a"), 401, "needs a token"},
		"another topic":     {publisher(t, "b", "c/{id}"), form("topic", "b", "topic", "a"), 403, "does not allow"},
		"no selectors":      {publisher(t), form("topic", "a"), 403, "does not allow"},
		"a reader":          {reader(t, "*"), form("topic", "a"), 403, "does not allow"},
	} {
		resp, body := h.do("POST", h.url(), tt.token, tt.body)
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.text) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	if resp, body := h.do("POST", h.url(), any, `{"topic":"a"}`, "Content-Type", "application/json"); resp.StatusCode != 415 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := h.do("PUT", h.url(), any, ""); resp.StatusCode != 405 || !strings.Contains(resp.Header.Get("Allow"), "POST") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if resp, body := h.do("POST", h.url(), publisher(t, "b", "c/{id}"), form("topic", "c/1", "topic", "b")); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestRefusedSubscriptions(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.Anonymous, c.Limits.Selectors = false, 10 }))
	for name, tt := range map[string]struct {
		token, query string
		status       int
	}{
		"anonymous":           {"", "topic=a", 401},
		"no topic":            {reader(t), "", 400},
		"an empty topic":      {reader(t), "topic=", 400},
		"not UTF-8":           {reader(t), "topic=%ff", 400},
		"a thousand":          {reader(t), strings.Repeat("topic=a&", 1000), 400},
		"a giant one":         {reader(t), "topic=" + strings.Repeat("a", 5000), 400},
		"a template bomb":     {reader(t), "topic=" + url.QueryEscape(strings.Repeat("{a,b,c,d,e,f,g,h}", 100)), 200}, // a topic, not a template
		"many big templates":  {reader(t), strings.Repeat("topic="+url.QueryEscape(strings.Repeat("{?a,b,c,d,e}", 8))+"&", 1), 200},
		"a broken query":      {reader(t), "topic=%zz", 400},
		"a token for nothing": {token(t, claim{}), "topic=a", 200},
	} {
		s := dial(t, http.DefaultClient, h.url()+"?"+tt.query, tt.token)
		if s.resp.StatusCode != tt.status {
			t.Errorf("%s: %s", name, s.resp.Status)
		}
		s.close()
	}
	resp, _ := h.do("HEAD", h.url()+"?topic=a", reader(t), "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
}

func TestPrivateUpdatesStayPrivate(t *testing.T) {
	t.Parallel()
	h := start(t)
	const topic, alternate = "https://example.com/books/1", "https://example.com/users/ada/books/1"
	streams := map[string]*stream{
		"anonymous":     h.subscribe("", "topic", "*"),
		"token without": h.subscribe(token(t, claim{"mercure": claim{}}), "topic", "*"),
		"another topic": h.subscribe(reader(t, "https://example.com/books/2"), "topic", topic),
		"a publisher":   h.subscribe(publisher(t, "*"), "topic", "*"),
		"ada":           h.subscribe(reader(t, "https://example.com/users/ada/{+rest}"), "topic", "https://example.com/books/{id}"),
		"exact":         h.subscribe(reader(t, topic), "topic", topic),
		"all":           h.subscribe(reader(t, "*"), "topic", "*"),
	}
	h.publish("topic", topic, "topic", alternate, "data", "secret", "private", "")
	h.publish("topic", topic, "data", "public")
	for name, s := range streams {
		e := s.next()
		if reads := name == "ada" || name == "exact" || name == "all"; reads {
			if e.data != "secret" {
				t.Errorf("%s got %+v", name, e)
			}
			e = s.next()
		}
		if e.data != "public" {
			t.Errorf("%s got %+v", name, e)
		}
	}
	// What comes from the history is checked in the same way, with the token of now.
	for name, tt := range map[string]struct {
		token string
		want  []string
	}{"anonymous": {"", []string{"public"}}, "another": {reader(t, "https://example.com/books/2"), []string{"public"}}, "ada": {reader(t, alternate), []string{"secret", "public"}}} {
		s := h.subscribe(tt.token, "topic", topic, "lastEventID", "earliest")
		for _, data := range tt.want {
			if e := s.next(); e.data != data {
				t.Errorf("%s got %+v", name, e)
			}
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.History.Size = 50 }))
	resume := func(id string) (*stream, string) {
		s := h.subscribe("", "topic", "even/{n}", "lastEventID", id)
		return s, s.resp.Header.Get("Last-Event-ID")
	}
	if _, answer := resume("earliest"); answer != "earliest" {
		t.Errorf("an empty history: %q", answer)
	}
	if _, answer := resume("urn:unknown"); answer != "earliest" {
		t.Errorf("an empty history: %q", answer)
	}
	kind := []string{"even/", "odd/"}
	for i, id := range ids(100) {
		h.publish("topic", kind[i%2]+fmt.Sprint(i), "data", fmt.Sprint(i), "id", id)
	}
	for id, want := range map[string]struct {
		answer string
		first  string
	}{"urn:60": {"urn:60", "62"}, "urn:61": {"urn:61", "62"}, "earliest": {"earliest", "50"}, "urn:3": {"earliest", "50"}, "urn:49": {"urn:49", "50"}, "nonsense": {"earliest", "50"}} {
		s, answer := resume(id)
		if e := s.next(); e.data != want.first || answer != want.answer {
			t.Errorf("%s: header %q, first %+v", id, answer, e)
		}
		for e := s.next(); e.data != "98"; e = s.next() {
		}
	}
	if s, answer := resume("urn:99"); answer != "urn:99" {
		t.Errorf("the latest: %q", answer)
	} else {
		h.publish("topic", "even/100", "data", "100")
		s.want("100")
	}
	// The header is stronger than the query.
	s := open(t, http.DefaultClient, h.url()+"?topic=*&lastEventID=earliest", "", "Last-Event-ID", "urn:97")
	s.want("98")
	// Its name in the query before 0.14.
	h.subscribe("", "topic", "*", "Last-Event-ID", "urn:97").want("98")
	// A new server knows what the old one knew.
	h.end()
	h.begin()
	s, answer := resume("urn:95")
	if e := s.next(); e.data != "96" || answer != "urn:95" {
		t.Errorf("%q %+v", answer, e)
	}
	h.publish("topic", "even/x", "data", "after")
	s.want("98")
	s.want("100")
	s.want("after")
	if st := h.Stats(); st.Kept != 50 {
		t.Errorf("%+v", st)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.History.MaxBytes = 64 << 10 }))
	for range 100 {
		h.publish("topic", "a", "data", strings.Repeat("x", 4000))
	}
	if st := h.Stats(); st.KeptBytes > 64<<10 || st.Kept < 10 {
		t.Errorf("%d updates, %d bytes are kept", st.Kept, st.KeptBytes)
	}
}

func TestWithoutHistory(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.History.Size = 0 }))
	id := h.publish("topic", "a", "data", "lost")
	s := h.subscribe("", "topic", "a", "lastEventID", "earliest")
	if got := s.resp.Header.Get("Last-Event-ID"); got != id {
		t.Errorf("%q, want %q", got, id)
	}
	h.publish("topic", "a", "data", "seen")
	s.want("seen")
}

func TestLimitsOfConnections(t *testing.T) {
	t.Parallel()
	h := start(t, func(h *hub) { h.limits.PerIP, h.limits.PerUser = 3, 1 })
	user := token(t, claim{"sub": "ada"})
	first := h.subscribe(user, "topic", "a")
	if s := dial(t, http.DefaultClient, h.url()+"?topic=a", user); s.resp.StatusCode != 429 || s.resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s", s.resp.Status)
	}
	h.subscribe("", "topic", "a")
	h.subscribe("", "topic", "a")
	if s := dial(t, http.DefaultClient, h.url()+"?topic=a", ""); s.resp.StatusCode != 429 {
		t.Errorf("%s", s.resp.Status)
	}
	first.close()
	testenv.Eventually(t, "a place is free", func() bool { return h.Stats().Subscribers == 2 })
	h.subscribe(user, "topic", "a")
}

// TestSlowReader has a client that reads nothing while much more than its queue is published, and then everything.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	h := start(t, func(h *hub) { h.limits.QueueMessages, h.limits.Queue, h.limits.WriteTimeout = 8, 64<<10, 5*time.Minute })
	slow := dial(t, http.DefaultClient, h.url()+"?topic=a", "")
	const n = 300
	data := strings.Repeat("x", 50_000)
	for i := range n {
		h.publish("topic", "a", "data", fmt.Sprint(i)+data)
	}
	if st := h.Stats(); st.Behind == 0 || st.Queued > 8 {
		t.Errorf("%+v", st)
	}
	slow.events = make(chan event, n)
	go slow.read()
	for i := range n {
		if e := slow.next(); e.data != fmt.Sprint(i)+data {
			t.Fatalf("event %d is %.20s", i, e.data)
		}
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	t.Parallel()
	h := start(t, func(h *hub) { h.limits.WriteTimeout = 5 * time.Second }) // the healthy one takes each event within it
	dial(t, http.DefaultClient, h.url()+"?topic=a", "")
	healthy := h.subscribe("", "topic", "a")
	data := strings.Repeat("x", 500_000)
	for range 30 {
		h.publish("topic", "a", "data", data)
		healthy.want(data)
	}
	testenv.Eventually(t, "the client that reads nothing is gone", func() bool { return h.Stats().Subscribers == 1 })
}

func TestSlowPolicies(t *testing.T) {
	t.Parallel()
	for _, policy := range []ws.SlowPolicy{ws.DropOldest, ws.DropNewest, ws.Disconnect} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			h := start(t, func(h *hub) {
				h.cfg.History.Size, h.limits.Slow, h.limits.QueueMessages = 0, policy, 4
				h.limits.WriteTimeout = 5 * time.Minute
			})
			slow := dial(t, http.DefaultClient, h.url()+"?topic=a", "")
			data := strings.Repeat("x", 100_000)
			for i := range 200 {
				h.publish("topic", "a", "data", fmt.Sprint(i)+" "+data)
			}
			if st := h.Stats(); (policy == ws.Disconnect) == (st.Dropped > 0) {
				t.Errorf("%+v", st)
			}
			slow.events = make(chan event, 200)
			go slow.read()
			if policy == ws.Disconnect {
				slow.ends()
				testenv.Eventually(t, "it is counted", func() bool { return h.Stats().Slow == 1 })
				return
			}
			last := ""
			for range int(200 - h.Stats().Dropped) {
				last, _, _ = strings.Cut(slow.next().data, " ")
			}
			if policy == ws.DropOldest && last != "199" {
				t.Errorf("the last is %s", last)
			}
		})
	}
}

func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.Heartbeat = time.Second }))
	expiring := h.subscribe(token(t, claim{"exp": time.Now().Add(5 * time.Second).Unix()}), "topic", "a")
	expiring.ends()
	testenv.Eventually(t, "it is counted", func() bool { return h.Stats().Expired == 1 })
	streams := make([]*stream, 5)
	for i := range streams {
		streams[i] = h.subscribe("", "topic", "a")
	}
	testenv.Eventually(t, "comments are sent", func() bool { return h.Stats().Heartbeats > 0 })
	h.publish("topic", "a", "data", "last")
	h.end()
	for _, s := range streams {
		list := s.ends()
		if len(list) != 2 || list[0].data != "last" || list[1].retry == "" {
			t.Errorf("%+v", list)
		}
	}
	if resp, body := h.do("GET", h.url()+"?topic=a", "", ""); resp.StatusCode != 200 || !strings.HasPrefix(body, "retry: ") {
		t.Errorf("%s %s", resp.Status, body)
	}
	h.begin()
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.Lifetime = time.Second }))
	h.subscribe("", "topic", "a").ends()
	testenv.Eventually(t, "it is counted", func() bool { return h.Stats().Rotated == 1 })
}
