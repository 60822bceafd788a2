package mercure_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edge-server/edge/ws/mercure"
)

const (
	hubURL = "https://hub.example.com/.well-known/mercure"
	issuer = "https://example.com"
)

func protocol1(c *mercure.Config) {
	c.Protocol, c.URL, c.Publisher.Issuer, c.Subscriptions = 1, hubURL, issuer, true
}

// detail is an entry of authorization_details; matches are pairs of type and matcher.
func detail(actions, payload string, matches ...string) claim {
	topics := []claim{}
	for i := 0; i < len(matches); i += 2 {
		topics = append(topics, claim{"match_type": matches[i], "match": matches[i+1]})
	}
	d := claim{"type": "https://mercure.rocks/authorization-detail", "actions": strings.Split(actions, " "), "topics": topics}
	if payload != "" {
		d["payload"] = json.RawMessage(payload)
	}
	return d
}

// access signs a token of protocol 1. Changes with a nil value take a claim away.
func access(t testing.TB, typ string, change claim, details ...claim) string {
	t.Helper()
	claims := jwt.MapClaims{
		"iss": issuer, "aud": hubURL, "sub": "ada", "client_id": "x", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": "1",
		"authorization_details": details,
	}
	maps.Copy(claims, jwt.MapClaims(change))
	for name, value := range change {
		if value == nil {
			delete(claims, name)
		}
	}
	return sign(t, jwt.SigningMethodHS256, []byte(secret), claims, "typ", typ)
}

func TestProtocol1(t *testing.T) {
	t.Parallel()
	h := start(t, config(protocol1))
	may := access(t, "at+jwt", nil, detail("publish subscribe unknown", "", "exact", "*"))
	publish := func(token string, status int, challenge string, pairs ...string) string {
		t.Helper()
		resp, body := h.do("POST", h.url(), token, form(pairs...))
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != status || !strings.Contains(got, challenge) {
			t.Errorf("%v: %s %q %s", pairs, resp.Status, got, body)
		}
		return body
	}

	// Tokens.
	everything := detail("publish", "", "exact", "*")
	for name, tt := range map[string]struct {
		token  string
		status int
	}{
		"good":               {may, 200},
		"long type":          {access(t, "Application/AT+JWT", nil, everything), 200},
		"several audiences":  {access(t, "at+jwt", claim{"aud": []string{"x", hubURL}}, everything), 200},
		"an ID token":        {access(t, "JWT", nil, everything), 401},
		"another audience":   {access(t, "at+jwt", claim{"aud": "https://other"}, everything), 401},
		"no audience":        {access(t, "at+jwt", claim{"aud": nil}, everything), 401},
		"another issuer":     {access(t, "at+jwt", claim{"iss": "https://evil"}, everything), 401},
		"no issuer":          {access(t, "at+jwt", claim{"iss": nil}, everything), 401},
		"no end":             {access(t, "at+jwt", claim{"exp": nil}, everything), 401},
		"expired":            {access(t, "at+jwt", claim{"exp": time.Now().Unix() - 1}, everything), 401},
		"the claim of 0":     {access(t, "at+jwt", claim{"authorization_details": nil, "mercure": claim{"publish": []string{"*"}}}), 403},
		"other details":      {access(t, "at+jwt", nil, claim{"type": "payment"}), 403},
		"only to subscribe":  {access(t, "at+jwt", nil, detail("subscribe", "", "exact", "*")), 403},
		"one bad entry":      {access(t, "at+jwt", nil, everything, detail("publish", "", "regexp", "a")), 401},
		"a bad pattern":      {access(t, "at+jwt", nil, everything, detail("publish", "", "urlpattern", "/(")), 401},
		"no actions":         {access(t, "at+jwt", nil, everything, claim{"type": everything["type"], "topics": everything["topics"]}), 401},
		"no topics":          {access(t, "at+jwt", nil, everything, detail("publish", "")), 401},
		"a topic of a kind":  {access(t, "at+jwt", nil, everything, claim{"type": everything["type"], "actions": []string{"publish"}, "topics": []string{"*"}}), 401},
		"payload of a kind":  {access(t, "at+jwt", nil, everything, detail("subscribe", `"x"`, "exact", "a")), 401},
		"actions of a kind":  {access(t, "at+jwt", nil, everything, claim{"type": everything["type"], "actions": []any{"publish", 1}, "topics": everything["topics"]}), 401},
		"an exact template":  {access(t, "at+jwt", nil, detail("publish", "", "exact", "/:x")), 403},
		"a pattern":          {access(t, "at+jwt", nil, detail("publish", "", "urlpattern", "https://*/books/:id")), 200},
		"a pattern of other": {access(t, "at+jwt", nil, detail("publish", "", "urlpattern", "/books/:id")), 403},
	} {
		resp, body := h.do("POST", h.url(), tt.token, form("topic", "https://example.com/books/1"))
		want := map[int]string{401: `error="invalid_token"`, 403: `error="insufficient_scope"`}[tt.status]
		challenge := resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != tt.status || !strings.Contains(challenge, want) || tt.status == 401 && strings.Contains(body, ":") {
			t.Errorf("%s: %s %q %s", name, resp.Status, challenge, body)
		}
	}
	publish("", 401, `resource_metadata="https://hub.example.com/.well-known/oauth-protected-resource/.well-known/mercure"`, "topic", "a")
	if resp, _ := h.do("POST", h.url()+"?authorization="+may, "", form("topic", "a")); resp.StatusCode != 401 || strings.Contains(resp.Header.Get("WWW-Authenticate"), "error") {
		t.Errorf("a token in the URL: %s", resp.Status)
	}

	// What is the hub's own.
	for _, topic := range []string{
		"*", "/.well-known/mercure", "/.well-known/mercure/x", "https://hub.example.com/.well-known/%6Dercure/subscriptions/a", "https://other/.well-known/x/../mercure/y",
		"mercure/subscriptions", "a\u200bb",
	} {
		publish(may, 400, "", "topic", "a", "topic", topic)
	}
	publish(may, 400, "", "topic", "a", "type", "mercure")
	publish(may, 400, "", "topic", "a", "id", "earliest")

	// Selectors.
	for query, status := range map[string]int{
		"match=a": 200, "match_exact=a&x=1": 200, "match_urlpattern=/a/:b": 200, "match_URLPattern=/a": 400, "matcha=x": 400, "Match=a&match=a": 400,
		"topic=a": 400, "match_urlpattern=" + url.QueryEscape("/a/("): 400, "match=%E2%80%8B": 400,
	} {
		if resp, body := h.do("HEAD", h.url()+"?"+query, "", ""); resp.StatusCode != status {
			t.Errorf("%s: %s %s", query, resp.Status, body)
		}
	}
	all := h.subscribe("", "match", "*")
	pattern := h.subscribe(access(t, "at+jwt", nil, detail("subscribe", "", "urlpattern", "/users/ada/*")), "match_urlpattern", "https://example.com/books/:id", "match", "end")
	publish(may, 200, "", "topic", "https://example.com/books/1", "topic", "/users/bob/books/1", "data", "bob's", "private", "on")
	publish(may, 200, "", "topic", "https://example.com/books/2", "topic", "/users/ada/books/2", "data", "ada's", "private", "")
	id := publish(may, 200, "", "topic", "end", "data", "end")
	pattern.want("ada's")
	pattern.want("end")
	all.want("end")

	// History has names of its own.
	s := h.subscribe("", "match", "*", "last_event_id", "earliest")
	if s.resp.Header.Get("Mercure-Last-Event-ID") != "earliest" || s.resp.Header.Get("Last-Event-ID") != "" {
		t.Errorf("%v", s.resp.Header)
	}
	if s := h.subscribe("", "match", "*", "last_event_id", id); s.resp.Header.Get("Mercure-Last-Event-ID") != id {
		t.Errorf("%v", s.resp.Header)
	}
	// QUERY has the selectors in its body.
	ctx := t.Context()
	req, err := http.NewRequestWithContext(ctx, "QUERY", h.url()+"?last_event_id="+url.QueryEscape(id), strings.NewReader(form("match", "end", "last_event_id", "earliest")))
	check(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Mercure-Last-Event-ID") != id {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

func TestProtocol1Subscriptions(t *testing.T) {
	t.Parallel()
	h := start(t, config(protocol1))
	const space = "/.well-known/mercure/subscriptions"
	watch := access(t, "at+jwt", nil, detail("subscribe", "", "urlpattern", space+"/:type/:match/:subscriber"), detail("subscribe", "", "exact", space))
	watcher := h.subscribe(watch, "match_urlpattern", space+"/:type/:match/:subscriber")
	watcher.next()
	bearer := access(t, "at+jwt", nil, detail("subscribe", `{"n":1}`, "exact", "b"), detail("subscribe", `{"n":2}`, "urlpattern", "https://example.com/:id"), detail("subscribe", `{"n":3}`, "exact", "*"))
	h.subscribe(bearer, "match", "b", "match_urlpattern", "https://example.com/:id")
	seen := map[string]subscription{}
	for range 2 {
		e := watcher.next()
		var s subscription
		check(t, json.Unmarshal([]byte(e.data), &s))
		if e.kind != "mercure" || s.Type != "subscription" || !s.Active || s.Context != "" || s.ID != space+"/"+s.MatchType+"/"+url.QueryEscape(s.Match)+"/"+url.QueryEscape(s.Subscriber) {
			t.Errorf("%+v", e)
		}
		seen[s.Match] = s
	}
	for match, want := range map[string]float64{"b": 1, "https://example.com/:id": 2} {
		if p, _ := seen[match].Payload.(map[string]any); p["n"] != want {
			t.Errorf("%s: %+v", match, seen[match])
		}
	}
	resp, body := h.do("GET", h.http.URL+space, watch, "")
	var list subscription
	check(t, json.Unmarshal([]byte(body), &list))
	if len(list.Subscriptions) != 3 || list.Type != "subscriptions" || list.LastEventID != "" || resp.Header.Get("Content-Type") != "application/json" ||
		!strings.HasPrefix(resp.Header.Get("Link"), "<"+hubURL+`>; rel="mercure"; last-event-id="urn:uuid:`) {
		t.Errorf("%v %s", resp.Header, body)
	}
	one := seen["b"]
	if resp, body := h.do("GET", h.http.URL+one.ID, watch, ""); resp.StatusCode != 200 || !strings.Contains(body, `"match":"b"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	if resp, _ := h.do("GET", h.http.URL+space+"/exact/b", watch, ""); resp.StatusCode != 403 || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	resp, body = h.do("GET", h.http.URL+"/.well-known/oauth-protected-resource"+hubPath, "", "")
	var about map[string]any
	check(t, json.Unmarshal([]byte(body), &about))
	if resp.StatusCode != 200 || about["resource"] != hubURL || about["mercure_subscriptions"] != true || about["mercure_cookie"] != "__Secure-mercure_access_token" {
		t.Errorf("%s", body)
	}
	if resp, _ := h.do("HEAD", h.url()+"?match=a", "", "", "Cookie", "__Secure-mercure_access_token=garbage"); resp.StatusCode != 401 {
		t.Errorf("the cookie: %s", resp.Status)
	}
}
