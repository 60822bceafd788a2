package mercure

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edge-server/edge/ws"
)

const fuzzSecret = "!ChangeThisMercureHubJWTSecretKey!"

func fuzzServer(f testing.TB, protocol int) *Server {
	f.Helper()
	cfg := DefaultConfig()
	cfg.Protocol, cfg.URL, cfg.Publisher.Secret, cfg.Publisher.Issuer = protocol, "https://hub.example.com"+DefaultPath, fuzzSecret, "https://issuer"
	s, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler), Limits: ws.DefaultLimits(), StateDir: "/nowhere"})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// FuzzSelector: whatever a client writes, matching ends, means the literal at least, and a template matches what it expands to.
func FuzzSelector(f *testing.F) {
	for _, seed := range [][2]string{
		{"https://example.com/{id}", "https://example.com/1"}, {"{?a,b*}", "?a=1&b=2"}, {"{+x:3}{/y*}", "a/b"}, {"{", "{"}, {"*", ""},
		{"https://*.example.com/:id(\\d+)?", "https://a.example.com/1"}, {"/a{/:x}*?q=#h", "/a/b?q=#h"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, topic string) {
		if len(text) > 4096 || len(topic) > 4096 {
			return
		}
		c := testCache(t)
		s, err := c.parse(matchSelector, text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !s.matches(text) {
			t.Errorf("%q does not match itself", text)
		}
		if s.matches(topic) && !s.all && topic != text && !strings.HasPrefix(topic, s.prefix) {
			t.Errorf("%q matches %q", text, topic)
		}
		if s.re != nil {
			// All variables without a value, and all with a plain one where the operator is none or +.
			if empty := expandPlain(text, ""); !s.matches(empty) {
				t.Errorf("%q does not match its expansion %q", text, empty)
			}
		}
		if p, err := c.parse(matchURL, text); err == nil {
			p.matches(topic)
			p.matches(text)
		}
		if e, err := c.parse(matchExact, text); err != nil || e.matches(topic) != (text == topic || text == "*") {
			t.Errorf("exact %q, topic %q: %v", text, topic, err)
		}
	})
}

// expandPlain leaves out every expression of a template.
func expandPlain(template, value string) string {
	var b strings.Builder
	for template != "" {
		literal, rest, found := strings.Cut(template, "{")
		b.WriteString(literal)
		if !found {
			break
		}
		_, template, _ = strings.Cut(rest, "}")
		b.WriteString(value)
	}
	return b.String()
}

// FuzzForm: what is taken of a form comes out as one event, with nothing that the publisher did not name.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"topic=a&data=b", "topic=a&topic=b&private&id=urn%3Ax&type=t&retry=10", "topic=a&data=x%0Ay%0D%0Az%0D", "topic=a&id=1%0Adata:+x",
		"topic=%2F.well-known%2Fmercure%2Fsubscriptions%2Fa", "topic=*", ";", "%zz", "topic=a&retry=%2B1",
	} {
		f.Add(seed)
	}
	servers := []*Server{fuzzServer(f, 0), fuzzServer(f, 1)}
	f.Fuzz(func(t *testing.T, body string) {
		for _, s := range servers {
			u, err := s.parseForm(body)
			if err != nil {
				continue
			}
			u.at = time.Unix(1, 2)
			text := string(u.stream())
			want := "id: " + u.id + "\n"
			if u.event != "" {
				want += "event: " + u.event + "\n"
			}
			if u.retry != "" {
				want += "retry: " + u.retry + "\n"
			}
			data := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(u.data)
			want += "data: " + strings.ReplaceAll(data, "\n", "\ndata: ") + "\n\n"
			if text != want {
				t.Errorf("%q became %q, want %q", body, text, want)
			}
			head, _, _ := strings.Cut(text, "data: ")
			if n := strings.Count(head, "\n"); n > 3 {
				t.Errorf("%q: %d lines before the data: %q", body, n, head)
			}
			again, err := decode(7, u.encode())
			if err != nil || again.id != u.id || again.data != u.data || !slices.Equal(again.topics, u.topics) || again.private != u.private || !again.at.Equal(u.at) {
				t.Errorf("%+v was stored as %+v, %v", u, again, err)
			}
		}
	})
}

// FuzzRecord: a damaged file is an error.
func FuzzRecord(f *testing.F) {
	f.Add((&update{id: "a", topics: []string{"b", "c"}, data: "d", retry: "1", private: true}).encode())
	f.Add([]byte{1, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, u, err := decodeShared(b); err == nil && strings.ContainsAny(u.id+u.event+u.retry, "\r\n") {
			t.Errorf("%q would break a stream: %+v", b, u)
		}
		u, err := decode(1, b)
		if err != nil {
			return
		}
		if again, err := decode(1, u.encode()); err != nil || !bytes.Equal(again.encode(), u.encode()) {
			t.Errorf("%+v is read again as %+v, %v", u, again, err)
		}
	})
}

// FuzzClaims: the payload of a token that somebody with the key has signed may be anything.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"mercure":{"publish":["*"],"subscribe":["a/{b}"],"payload":{"x":1}},"exp":9999999999}`, `{"mercure":null}`, `{"mercure":{"publish":null}}`,
		`{"iss":"https://issuer","aud":["https://hub.example.com/.well-known/mercure"],"exp":9999999999,"authorization_details":[{"type":"https://mercure.rocks/authorization-detail","actions":["publish","subscribe"],"topics":[{"match":"/a/:b","match_type":"urlpattern"}],"payload":{}}]}`,
		`[]`, `{"exp":1e400}`, `{"authorization_details":[1]}`,
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	servers := []*Server{fuzzServer(f, 0), fuzzServer(f, 1)}
	f.Fuzz(func(t *testing.T, claims string, signed bool) {
		for i, s := range servers {
			text := encodeSegment(`{"alg":"HS256","typ":"at+jwt"}`) + "." + encodeSegment(claims)
			key := []byte(fuzzSecret)
			if !signed {
				key = []byte("another key")
			}
			signature, err := jwt.SigningMethodHS256.Sign(text, key)
			if err != nil {
				t.Fatal(err)
			}
			g, err := s.verifiers.Load().publishers.verify(text + "." + encodeSegment(string(signature)))
			switch {
			case err != nil:
				continue
			case !signed:
				t.Fatalf("a forged token is accepted: %s", claims)
			case !json.Valid([]byte(claims)):
				t.Fatalf("claims that are no JSON are accepted: %q", claims)
			case i == 1 && (g.expires.IsZero() || !strings.Contains(claims, "iss")):
				t.Fatalf("protocol 1 accepts %s", claims)
			}
			g.mayPublish([]string{"a", "b"})
			g.mayRead([]string{"a"})
			if sel, err := s.selectors.parse(matchExact, "a"); err == nil {
				if p := g.payloadOf(sel); p != nil && !json.Valid(p) {
					t.Fatalf("payload %q", p)
				}
			}
		}
	})
}

func encodeSegment(text string) string { return new(jwt.Token).EncodeSegment([]byte(text)) }
