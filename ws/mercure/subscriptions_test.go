package mercure_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/mercure"
)

type subscription struct {
	Context       string `json:"@context"`
	ID, Type      string
	Topic         string
	Match         string
	MatchType     string `json:"match_type"`
	Subscriber    string
	Active        bool
	Payload       any
	LastEventID   string
	Subscriptions []subscription
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) { c.Subscriptions = true }))
	const templates = "/.well-known/mercure/subscriptions{/topic}{/subscriber}"
	watcher := h.subscribe(reader(t, templates), "topic", templates)
	stranger := h.subscribe(reader(t, "a"), "topic", "*")
	watch := func(active bool, topic string) subscription {
		t.Helper()
		e := watcher.next()
		var s subscription
		check(t, json.Unmarshal([]byte(e.data), &s))
		if s.Active != active || s.Topic != topic || s.Type != "Subscription" || s.Context != "https://mercure.rocks/" {
			t.Fatalf("%+v", s)
		}
		if want := hubPath + "/subscriptions/" + url.QueryEscape(topic) + "/" + url.QueryEscape(s.Subscriber); s.ID != want {
			t.Errorf("%s, want %s", s.ID, want)
		}
		return s
	}
	watch(true, templates)
	watch(true, "*")
	ada := h.subscribe(token(t, claim{"mercure": claim{"payload": claim{"name": "Ada"}}}), "topic", "https://example.com/{x}", "topic", "b")
	first := watch(true, "https://example.com/{x}")
	second := watch(true, "b")
	if first.Subscriber != second.Subscriber || !strings.HasPrefix(first.Subscriber, "urn:uuid:") {
		t.Errorf("%+v %+v", first, second)
	}
	if p, _ := first.Payload.(map[string]any); p["name"] != "Ada" {
		t.Errorf("%+v", first)
	}

	again := func() (tag string, status int) {
		t.Helper()
		r, err := http.NewRequest("GET", h.http.URL+hubPath+"/subscriptions", nil)
		check(t, err)
		r.Header.Set("Authorization", "Bearer "+reader(t, "*"))
		first, err := http.DefaultClient.Do(r)
		check(t, err)
		first.Body.Close()
		r.Header.Set("If-None-Match", first.Header.Get("ETag"))
		second, err := http.DefaultClient.Do(r)
		check(t, err)
		second.Body.Close()
		return first.Header.Get("ETag"), second.StatusCode
	}
	tag, status := again()
	if status != http.StatusNotModified {
		t.Errorf("who has it already got %d", status)
	}

	get := func(path, bearer string, status int) (s subscription) {
		t.Helper()
		resp, body := h.do("GET", h.http.URL+path, bearer, "")
		if resp.StatusCode != status {
			t.Fatalf("%s: %s %s", path, resp.Status, body)
		}
		if status == 200 {
			check(t, json.Unmarshal([]byte(body), &s))
			if resp.Header.Get("Content-Type") != "application/ld+json" || s.Context == "" || s.LastEventID == "" || s.ID != path {
				t.Errorf("%s: %v %s", path, resp.Header, body)
			}
		}
		return s
	}
	list := get(hubPath+"/subscriptions", reader(t, hubPath+"/subscriptions"), 200)
	topics := []string{}
	for _, s := range list.Subscriptions {
		topics = append(topics, s.Topic)
	}
	slices.Sort(topics)
	if strings.Join(topics, " ") != "* "+templates+" b https://example.com/{x}" || list.Type != "Subscriptions" {
		t.Errorf("%q", topics)
	}
	path := hubPath + "/subscriptions/" + url.QueryEscape("https://example.com/{x}")
	if list := get(path, reader(t, templates), 200); len(list.Subscriptions) != 1 || list.Subscriptions[0].ID != first.ID {
		t.Errorf("%+v", list)
	}
	if one := get(first.ID, reader(t, first.ID), 200); one.Subscriber != first.Subscriber || !one.Active {
		t.Errorf("%+v", one)
	}
	get(path+"/urn%3Auuid%3Aunknown", reader(t, templates), 404)
	get(path+"/a/b", reader(t, templates), 404)
	get(hubPath+"/subscriptions/", reader(t, templates), 404)
	get(path, "", 401)
	get(path, reader(t), 403)
	get(path, reader(t, hubPath+"/subscriptions", hubPath+"/subscriptions/b"), 403)

	ada.close()
	watch(false, "https://example.com/{x}")
	watch(false, "b")
	get(first.ID, reader(t, templates), 404)
	if now, _ := again(); now == tag {
		t.Errorf("two subscriptions have ended, and the ETag is still %s", now)
	}
	testenv.Eventually(t, "two are left", func() bool { return h.Stats().Subscribers == 2 })
	h.publish("topic", "a", "data", "end")
	stranger.want("end") // and nothing before it
}

func TestSubscriptionsAreOff(t *testing.T) {
	t.Parallel()
	h := start(t)
	if resp, _ := h.do("GET", h.url()+"/subscriptions", reader(t, "*"), ""); resp.StatusCode != 404 {
		t.Errorf("%s", resp.Status)
	}
}
