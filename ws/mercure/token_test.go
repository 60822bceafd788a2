package mercure_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/mercure"
)

// all allows everything.
func all() jwt.MapClaims {
	return jwt.MapClaims{"mercure": claim{"publish": []string{"*"}, "subscribe": []string{"*"}}}
}

func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims, header ...string) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, claims)
	for i := 0; i < len(header); i += 2 {
		tok.Header[header[i]] = header[i+1]
	}
	text, err := tok.SignedString(key)
	check(t, err)
	return text
}

func writePEM(t testing.TB, public crypto.PublicKey) (path string, text []byte) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	check(t, err)
	text = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	path = filepath.Join(testenv.Dir(t), "key.pem")
	check(t, os.WriteFile(path, text, 0o600))
	return path, text
}

// accepts reports whether a token publishes.
func (h *hub) accepts(token string) bool {
	h.t.Helper()
	resp, _ := h.do("POST", h.url(), token, form("topic", "a"))
	if resp.StatusCode != 200 && resp.StatusCode != 401 {
		h.t.Errorf("status %s", resp.Status)
	}
	return resp.StatusCode == 200
}

func TestTokens(t *testing.T) {
	t.Parallel()
	h := start(t)
	now := time.Now()
	good := sign(t, jwt.SigningMethodHS256, []byte(secret), all())
	parts := strings.Split(good, ".")
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	with := func(key string, value any) jwt.MapClaims { c := all(); c[key] = value; return c }
	for name, tt := range map[string]struct {
		token string
		want  bool
	}{
		"good":                {good, true},
		"not yet expired":     {sign(t, jwt.SigningMethodHS256, []byte(secret), with("exp", now.Add(time.Minute).Unix())), true},
		"namespaced":          {sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"https://mercure.rocks/": claim{"publish": []string{"a"}}}), true},
		"expired":             {sign(t, jwt.SigningMethodHS256, []byte(secret), with("exp", now.Add(-time.Second).Unix())), false},
		"not yet valid":       {sign(t, jwt.SigningMethodHS256, []byte(secret), with("nbf", now.Add(time.Minute).Unix())), false},
		"exp is a text":       {sign(t, jwt.SigningMethodHS256, []byte(secret), with("exp", "never")), false},
		"another secret":      {sign(t, jwt.SigningMethodHS256, []byte(secret+"x"), all()), false},
		"another HMAC":        {sign(t, jwt.SigningMethodHS512, []byte(secret), all()), false},
		"none":                {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, all()), false},
		"None":                {encode(`{"alg":"None","typ":"JWT"}`) + "." + parts[1] + ".", false},
		"nOnE with signature": {encode(`{"alg":"nOnE"}`) + "." + parts[1] + "." + parts[2], false},
		"no alg":              {encode(`{"typ":"JWT"}`) + "." + parts[1] + "." + parts[2], false},
		"no signature":        {parts[0] + "." + parts[1] + ".", false},
		"forged claims":       {parts[0] + "." + encode(`{"mercure":{"publish":["*"]},"x":1}`) + "." + parts[2], false},
		"a key of its own":    {sign(t, jwt.SigningMethodHS256, []byte("k"), all(), "jwk", "k", "jku", "http://127.0.0.1:1/", "kid", "../../dev/null"), false},
		"critical":            {sign(t, jwt.SigningMethodHS256, []byte(secret), all(), "crit", "exp"), false},
		"two parts":           {parts[0] + "." + parts[1], false},
		"garbage":             {"garbage", false},
		"dots":                {"..", false},
		"claims of a kind":    {sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"mercure": "all"}), false},
		"selectors of a kind": {sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"mercure": claim{"publish": "*"}}), false},
		"too many selectors":  {sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"mercure": claim{"publish": make([]string, 1001)}}), false},
		"giant":               {good + strings.Repeat("A", 20_000), false},
	} {
		if got := h.accepts(tt.token); got != tt.want {
			t.Errorf("%s: accepted is %v", name, got)
		}
	}
	if st := h.Stats(); st.BadTokens < 18 || st.Refused["denied"] < 18 {
		t.Errorf("%+v", st)
	}
	for _, header := range []string{"Basic " + good, "Bearer", "Bearer ", good} {
		if resp, _ := h.do("POST", h.url(), "", form("topic", "a"), "Authorization", header); resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%q: %s %v", header[:6], resp.Status, resp.Header)
		}
	}
	if resp, _ := h.do("POST", h.url(), "", form("topic", "a"), "Authorization", "bearer "+good); resp.StatusCode != 200 {
		t.Error("the scheme has no case")
	}
	// A header that is wrong is not made good by what is in the query or in a cookie.
	if resp, _ := h.do("GET", h.url()+"?topic=a&authorization="+good, "garbage", "", "Cookie", "mercureAuthorization="+good); resp.StatusCode != 401 {
		t.Errorf("%s", resp.Status)
	}
	if resp, _ := h.do("HEAD", h.url()+"?topic=a&authorization="+good, "", "", "Cookie", "mercureAuthorization=garbage"); resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	ec384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	type signer struct {
		method jwt.SigningMethod
		key    any
	}
	signers := map[string]signer{
		"HS256": {jwt.SigningMethodHS256, []byte(secret)}, "RS256": {jwt.SigningMethodRS256, rsaKey}, "PS256": {jwt.SigningMethodPS256, rsaKey},
		"ES256": {jwt.SigningMethodES256, ecKey}, "ES384": {jwt.SigningMethodES384, ec384}, "EdDSA": {jwt.SigningMethodEdDSA, edKey},
	}
	for name, public := range map[string]crypto.PublicKey{"RS256 PS256": &rsaKey.PublicKey, "ES256": &ecKey.PublicKey, "ES384": &ec384.PublicKey, "EdDSA": edPublic} {
		path, text := writePEM(t, public)
		h := start(t, config(func(c *mercure.Config) { c.Publisher = mercure.Keys{PublicKeyFile: path} }))
		for alg, s := range signers {
			if got, want := h.accepts(sign(t, s.method, s.key, all())), strings.Contains(name, alg); got != want {
				t.Errorf("key for %s, token with %s: accepted is %v", name, alg, got)
			}
		}
		// The public key, which everybody has, as the secret of an HMAC.
		der, _ := pem.Decode(text)
		for _, key := range [][]byte{text, []byte(strings.TrimSpace(string(text))), der.Bytes} {
			if h.accepts(sign(t, jwt.SigningMethodHS256, key, all())) {
				t.Errorf("%s: a token signed with the public key is accepted", name)
			}
		}
	}

	b64 := base64.RawURLEncoding.EncodeToString
	point, err := ecKey.PublicKey.Bytes()
	check(t, err)
	set, err := json.Marshal(claim{"keys": []claim{
		{"kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "n": b64(rsaKey.N.Bytes()), "e": b64(big.NewInt(int64(rsaKey.E)).Bytes())},
		{"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": b64(edPublic)},
		{"kty": "oct", "kid": "h", "alg": "HS256", "k": b64([]byte(secret))},
		{"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"},
	}})
	check(t, err)
	path := filepath.Join(testenv.Dir(t), "jwks.json")
	check(t, os.WriteFile(path, set, 0o600))
	h := start(t, config(func(c *mercure.Config) { c.Publisher = mercure.Keys{JWKSFile: path} }))
	for alg, s := range signers {
		want := alg != "PS256" && alg != "ES384"
		for _, kid := range []string{"unknown", map[string]string{"HS256": "h", "RS256": "r", "ES256": "e", "EdDSA": "o"}[alg]} {
			if got := h.accepts(sign(t, s.method, s.key, all(), "kid", kid)); got != want {
				t.Errorf("JWKS, token with %s, kid %q: accepted is %v", alg, kid, got)
			}
		}
	}
	narrow := start(t, config(func(c *mercure.Config) { c.Publisher = mercure.Keys{JWKSFile: path, Algorithms: []string{"ES256"}} }))
	for alg, s := range signers {
		if got := narrow.accepts(sign(t, s.method, s.key, all())); got != (alg == "ES256") {
			t.Errorf("only ES256, token with %s: accepted is %v", alg, got)
		}
	}
}

func TestRolesHaveTheirOwnKeys(t *testing.T) {
	t.Parallel()
	const other = "another secret, which is for subscribers"
	h := start(t, config(func(c *mercure.Config) { c.Subscriber.Secret = other }))
	forSubscribers := sign(t, jwt.SigningMethodHS256, []byte(other), all())
	if h.accepts(forSubscribers) || !h.accepts(publisher(t, "*")) {
		t.Error("the key of subscribers publishes")
	}
	if resp, _ := h.do("HEAD", h.url()+"?topic=a", publisher(t, "*"), ""); resp.StatusCode != 401 {
		t.Error("the key of publishers subscribes")
	}
	if resp, _ := h.do("HEAD", h.url()+"?topic=a", forSubscribers, ""); resp.StatusCode != 200 {
		t.Error("the key of subscribers does not subscribe")
	}
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	check(t, err)
	smallPEM, _ := writePEM(t, &small.PublicKey)
	for want, change := range map[string]func(*mercure.Config){
		"publisher: has no key":                       func(c *mercure.Config) { c.Publisher.Secret = "" },
		"publisher.secret: must have at least 32":     func(c *mercure.Config) { c.Publisher.Secret = "!ChangeMe!" },
		"publisher.algorithms: no key of the section": func(c *mercure.Config) { c.Publisher.Algorithms = []string{"RS256"} },
		"subscriber.public_key_file: open":            func(c *mercure.Config) { c.Subscriber.PublicKeyFile = dir + "/missing" },
		"has no PEM block":                            func(c *mercure.Config) { c.Subscriber.PublicKeyFile = file("a", "x") },
		"is a private key": func(c *mercure.Config) {
			c.Subscriber.PublicKeyFile = file("b", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
		},
		"an RSA key of 1024 bits": func(c *mercure.Config) { c.Subscriber.PublicKeyFile = smallPEM },
		"jwks_file":               func(c *mercure.Config) { c.Subscriber.JWKSFile = file("c", `{"keys":[]}`) },
		"keys[0]: kty":            func(c *mercure.Config) { c.Subscriber.JWKSFile = file("d", `{"keys":[{"kty":"x"}]}`) },
		"no point of the curve": func(c *mercure.Config) {
			c.Subscriber.JWKSFile = file("e", `{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}]}`)
		},
		"protocol: must be 0 or 1":          func(c *mercure.Config) { c.Protocol = 2 },
		"url: protocol 1 needs":             func(c *mercure.Config) { c.Protocol = 1 },
		"publisher.issuer":                  func(c *mercure.Config) { c.Protocol = 1 },
		"path:":                             func(c *mercure.Config) { c.Path = "/" },
		"cors_origins[0]":                   func(c *mercure.Config) { c.CORSOrigins = []string{"example.com"} },
		"publish_origins[1]":                func(c *mercure.Config) { c.PublishOrigins = []string{"*", "https://*.example.com"} },
		"heartbeat:":                        func(c *mercure.Config) { c.Heartbeat = 0 },
		"lifetime:":                         func(c *mercure.Config) { c.Lifetime = -time.Second },
		"history.size":                      func(c *mercure.Config) { c.History.Size = -1 },
		"limits.selectors: must be between": func(c *mercure.Config) { c.Limits.Selectors = 0 },
		"cookie_name":                       func(c *mercure.Config) { c.CookieName = "a b" },
	} {
		c := mercure.DefaultConfig()
		c.Publisher.Secret = secret
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	h := start(t, config(func(c *mercure.Config) {
		c.CORSOrigins, c.PublishOrigins = []string{"https://app.example.com", "*"}, []string{"https://admin.example.com"}
	}))
	for origin, want := range map[string][2]string{
		"https://app.example.com": {"https://app.example.com", "true"}, "https://admin.example.com": {"https://admin.example.com", "true"},
		"https://evil.example": {"*", ""}, "null": {"*", ""}, "": {"", ""},
	} {
		header := []string{"Access-Control-Request-Method", "GET"}
		if origin != "" {
			header = append(header, "Origin", origin)
		}
		resp, _ := h.do("OPTIONS", h.url(), "", "", header...)
		got := [2]string{resp.Header.Get("Access-Control-Allow-Origin"), resp.Header.Get("Access-Control-Allow-Credentials")}
		if got != want || resp.StatusCode != 204 || resp.Header.Get("Vary") != "Origin" {
			t.Errorf("%q: %v %v", origin, got, resp.Header)
		}
	}
	cookie := "mercureAuthorization=" + publisher(t, "*")
	for name, tt := range map[string]struct {
		header []string
		want   int
	}{
		"no origin":         {nil, 403},
		"another site":      {[]string{"Origin", "https://evil.example"}, 403},
		"null":              {[]string{"Origin", "null"}, 403},
		"listed":            {[]string{"Origin", "https://admin.example.com"}, 200},
		"only to subscribe": {[]string{"Origin", "https://app.example.com"}, 403},
		"the hub's own":     {[]string{"Origin", h.http.URL}, 200},
		"a referer":         {[]string{"Referer", "https://admin.example.com/page?x=1"}, 200},
		"another referer":   {[]string{"Referer", "https://evil.example/https://admin.example.com"}, 403},
	} {
		resp, body := h.do("POST", h.url(), "", form("topic", "a"), append([]string{"Cookie", cookie}, tt.header...)...)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
	// With a header it is no browser's doing.
	if resp, _ := h.do("POST", h.url(), publisher(t, "*"), form("topic", "a"), "Origin", "https://evil.example"); resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
	closed := start(t)
	resp, _ := closed.do("GET", closed.url(), "", "", "Origin", "https://evil.example")
	if resp.Header.Get("Access-Control-Allow-Origin") != "" || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%v", resp.Header)
	}
}
