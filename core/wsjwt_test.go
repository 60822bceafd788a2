package core_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
)

const jwtSecret = "a secret of at least thirty-two characters"

func signed(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestRawTokens: who shows a token is known to PHP, others never reach it, and a connection ends with its token.
func TestRawTokens(t *testing.T) {
	t.Parallel()
	config := func(more string) string {
		return strings.Replace(rawConfig(t, 1), "{php: app, subprotocols", `{php: app, jwt: {secret: "`+jwtSecret+`", audience: chat, cookie: tok, attributes: [role, groups]`+more+`}, subprotocols`, 1)
	}
	s := edgetest.Start(t, config(""))
	dial := func(s *edgetest.Server, query, header, value string) (*websocket.Conn, int) {
		t.Helper()
		h := http.Header{}
		if header != "" {
			h.Set(header, value)
		}
		c, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP, "http")+"/chat"+query, h)
		if res == nil {
			t.Fatal(err)
		}
		if err == nil {
			t.Cleanup(func() { c.Close() })
			c.SetReadDeadline(time.Now().Add(30 * time.Second))
		}
		return c, res.StatusCode
	}
	hour := time.Now().Add(time.Hour).Unix()
	good := signed(t, jwt.MapClaims{"sub": "anna", "aud": "chat", "exp": hour, "role": "admin", "groups": []string{"a", "b"}, "n": 7})
	for i, client := range [][3]string{{"?token=" + good}, {"", "Authorization", "Bearer " + good}, {"", "Cookie", "tok=" + good}} {
		c, status := dial(s, client[0], client[1], client[2])
		if c == nil {
			t.Fatalf("client %d: %d", i, status)
		}
		c.WriteMessage(websocket.TextMessage, []byte("attributes"))
		if got := readRaw(t, c); got != `{"user":"anna","role":"admin","groups":"a,b","uri":"/chat"}` {
			t.Errorf("client %d: PHP sees %s", i, got)
		}
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "anna", "aud": "chat"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]string{
		"none": "", "expired": signed(t, jwt.MapClaims{"aud": "chat", "exp": time.Now().Add(-time.Minute).Unix()}),
		"for another": signed(t, jwt.MapClaims{"aud": "shop", "exp": hour}), "changed": good[:len(good)-8] + "AAAAAAAA", "unsigned": none,
		"too long": strings.Repeat("x", 17<<10), "not yet": signed(t, jwt.MapClaims{"aud": "chat", "nbf": hour}),
	}
	for what, token := range wrong {
		if _, status := dial(s, "", "Authorization", "Bearer "+token); status != http.StatusUnauthorized {
			t.Errorf("a token that is %s: %d", what, status)
		}
	}

	var short *websocket.Conn
	for life := 2 * time.Second; short == nil && life < time.Minute; life *= 2 { // which has to last until the handshake is done
		short, _ = dial(s, "?token="+signed(t, jwt.MapClaims{"aud": "chat", "exp": time.Now().Add(life).Unix()}), "", "")
	}
	if short == nil {
		t.Fatal("a token that is about to expire is refused")
	}
	if _, _, err := short.ReadMessage(); !websocket.IsCloseError(err, 4401) {
		t.Errorf("after its token had expired the client saw %v", err)
	}

	s = edgetest.Start(t, config(", optional: true"))
	if c, status := dial(s, "", "", ""); c == nil {
		t.Errorf("without a token, which is optional: %d", status)
	}
	if _, status := dial(s, "?token=x", "", ""); status != http.StatusUnauthorized {
		t.Errorf("with a wrong one: %d", status)
	}
	if _, err := edgetest.TryStart(t, strings.Replace(config(""), jwtSecret, "short", 1)); err == nil || !strings.Contains(err.Error(), "ws.raw.chat.jwt.secret: must have at least 32") {
		t.Errorf("a short secret: %v", err)
	}
}

// TestRawTokensForPlugins: a plugin sees whose a connection is and the claims that are kept, and may change both.
func TestRawTokensForPlugins(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, `
http: {routes: [{match: {path: /chat}, ws: chat}]}
plugins: {modules: {talk: {file: `+platformGuest(t, "WS")+`, allow: {publish: ["room.*"]}}}}
ws: {raw: {chat: {wasm: talk, jwt: {secret: "`+jwtSecret+`", attributes: [role], optional: true}}}}
`)
	nobody := dialRaw(t, s, "")
	c := dialRaw(t, s, "?token="+signed(t, jwt.MapClaims{"sub": "anna", "role": "admin"}))
	for _, step := range []struct{ say, want string }{{"?", "annaadmin"}, {"=owner", ""}, {"?", "eveowner"}, {"=", ""}, {"?", "eve"}} {
		c.WriteMessage(websocket.TextMessage, []byte(step.say))
		if step.want == "" {
			continue
		}
		if got := readRaw(t, c); got != step.want {
			t.Errorf("the plugin knows %q, want %q", got, step.want)
		}
	}
	nobody.WriteMessage(websocket.TextMessage, []byte("?"))
	if got := readRaw(t, nobody); got != "" {
		t.Errorf("of nobody it knows %q", got)
	}
}
