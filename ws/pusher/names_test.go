package pusher

import (
	"testing"
	"time"

	"github.com/edge-server/edge/ws"
)

func TestKindsOfChannels(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]kind{
		"news": 0, "cache-news": kindCache, "private-news": kindPrivate, "private-cache-news": kindPrivate | kindCache,
		"private-encrypted-news": kindPrivate | kindEncrypted, "private-encrypted-cache-x": kindPrivate | kindEncrypted | kindCache,
		"presence-x": kindPrivate | kindPresence, "presence-cache-x": kindPrivate | kindPresence | kindCache,
		"presence-encrypted-x": kindPrivate | kindPresence, "privat-x": 0, "#server-to-user-7": kindUser, "#x": kindUser,
	} {
		if got := kindOf(name); got != want {
			t.Errorf("%s: %b, want %b", name, got, want)
		}
	}
	for name, want := range map[string]bool{
		"a-Z_0=@,.;": true, "": false, "a b": false, "a/b": false, "é": false, "a#": false, "#x": false, "#server-to-user-": false, "#server-to-user-a b": true,
	} {
		if validChannel(name) != want {
			t.Errorf("validChannel(%q) is %v", name, !want)
		}
	}
	for id, want := range map[string]bool{"1.2": true, "123456.7890": true, "": false, ".": false, "1.": false, "1": false, "1.2.3": false, "-1.2": false, "1.a": false} {
		if validSocketID(id) != want {
			t.Errorf("validSocketID(%q) is %v", id, !want)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		patterns []string
		origin   string
		want     bool
	}{
		{[]string{"*"}, "https://any.example", true}, {[]string{"*"}, "null", true}, {nil, "", true}, {nil, "https://a.example", false},
		{[]string{"a.example"}, "https://a.example", true}, {[]string{"a.example"}, "http://A.example:8080", true},
		{[]string{"a.example"}, "https://b.a.example", false}, {[]string{"*.a.example"}, "https://b.a.example", true},
		{[]string{"*.a.example"}, "https://c.b.a.example", true}, {[]string{"*.a.example"}, "https://a.example", false},
		{[]string{"*.a.example"}, "https://ba.example", false}, {[]string{"a.example"}, "null", false}, {[]string{"x", "*"}, "null", true},
		{[]string{"https://a.example:8443"}, "https://a.example:8443", true}, {[]string{"https://a.example:8443"}, "https://a.example", false},
		{[]string{"https://a.example"}, "http://a.example", false}, {[]string{"a.example"}, "https://a.example.evil", false},
		{[]string{"a.example"}, "https://a.example@evil", false},
	} {
		if got := originAllowed(c.patterns, c.origin); got != c.want {
			t.Errorf("%v allows %q: %v", c.patterns, c.origin, got)
		}
	}
}

func TestMeterRefillsEvenly(t *testing.T) {
	t.Parallel()
	m, now := meter{rate: 10}, time.Unix(1000, 0)
	for i := range 10 {
		if !m.take(1, now) {
			t.Fatalf("the event %d of 10 is refused", i)
		}
	}
	if m.take(1, now) {
		t.Error("an 11th event is allowed")
	}
	if now = now.Add(100 * time.Millisecond); !m.take(1, now) || m.take(1, now) {
		t.Error("after a tenth of a second there is room for one, no more")
	}
	if now = now.Add(time.Hour); m.take(11, now) || !m.take(10, now) {
		t.Error("after an hour there is room for ten, no more")
	}
	if none := (meter{}); !none.take(1<<20, now) {
		t.Error("a meter without a rate refuses")
	}
}

// TestRosterOfWatchers: the channels by which users are watched are nothing that clients know.
func TestRosterOfWatchers(t *testing.T) {
	t.Parallel()
	if got := new(app).roster(onlinePrefix+"1", []ws.Member{{ID: "1"}}); got != nil {
		t.Errorf("clients get %q", got.Payload())
	}
	if got := new(app).roster("presence-a", []ws.Member{{ID: "1"}}); got == nil {
		t.Error("members are not told")
	}
}
