package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
	"github.com/edge-server/edge/wasmhost"
)

const secret = "a secret that is long enough for HS512: 64 bytes, as RFC 7518 asks for it"

// signers are private keys, made once.
type signers struct {
	rsa  *rsa.PrivateKey
	ec   map[string]*ecdsa.PrivateKey
	ed   ed25519.PrivateKey
	pubs map[string]string // algorithm: PEM
}

func newSigners(t *testing.T) *signers {
	t.Helper()
	s := &signers{ec: map[string]*ecdsa.PrivateKey{}, pubs: map[string]string{}}
	var err error
	if s.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if s.ec[alg], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
		s.pubs[alg] = publicPEM(t, s.ec[alg].Public())
	}
	if _, s.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	s.pubs["EdDSA"] = publicPEM(t, s.ed.Public())
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		s.pubs[alg] = publicPEM(t, s.rsa.Public())
	}
	return s
}

func publicPEM(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// sign makes a token. alg says how it is signed, header what it says of itself.
func (s *signers) sign(t *testing.T, alg string, header, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	head := map[string]any{"alg": alg}
	for name, value := range header {
		head[name] = value
	}
	signed := part(head) + "." + part(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(s.signature(t, alg, []byte(signed)))
}

func (s *signers) signature(t *testing.T, alg string, signed []byte) (sig []byte) {
	t.Helper()
	a, ok := algorithmOf(alg)
	if !ok {
		return nil
	}
	var digest []byte
	if a.hash != 0 {
		h := a.hash.New()
		h.Write(signed)
		digest = h.Sum(nil)
	}
	var err error
	switch a.kind {
	case "HS":
		mac := hmac.New(a.hash.New, []byte(secret))
		mac.Write(signed)
		sig = mac.Sum(nil)
	case "RS":
		sig, err = rsa.SignPKCS1v15(rand.Reader, s.rsa, a.hash, digest)
	case "PS":
		sig, err = rsa.SignPSS(rand.Reader, s.rsa, a.hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES":
		n := (a.curve.Params().BitSize + 7) / 8
		var r, v *big.Int
		if r, v, err = ecdsa.Sign(rand.Reader, s.ec[alg], digest); err == nil {
			sig = append(r.FillBytes(make([]byte, n)), v.FillBytes(make([]byte, n))...)
		}
	case "Ed":
		sig = ed25519.Sign(s.ed, signed)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func soon() int64 { return time.Now().Add(time.Hour).Unix() }

func good(more ...any) map[string]any {
	c := map[string]any{"exp": soon(), "sub": "alice", "iss": "https://issuer.test", "aud": []string{"other", "api"}, "scope": "read write"}
	for i := 0; i < len(more); i += 2 {
		if c[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(c, more[i].(string))
		}
	}
	return c
}

func get(token string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// noNet: what edge.yaml says when all keys are in it.
var noNet = plugintest.Allow(wasmhost.Allow{Net: []string{}})

func TestPlugin(t *testing.T) {
	t.Parallel()
	module := plugintest.Go(t, "jwt-auth")
	s := newSigners(t)
	t.Run("algorithms", func(t *testing.T) { testAlgorithms(t, module, s) })
	t.Run("claims", func(t *testing.T) { testClaims(t, module, s) })
	t.Run("forwarding", func(t *testing.T) { testForwarding(t, module, s) })
	t.Run("key set", func(t *testing.T) { testKeySet(t, module, s) })
	t.Run("configuration", func(t *testing.T) { testConfiguration(t, module, s) })
}

// testAlgorithms: each algorithm with its key is taken, and with every other key refused.
func testAlgorithms(t *testing.T, module string, s *signers) {
	var all []any
	algs := strings.Split(allAlgorithms, ", ")
	for _, alg := range algs {
		if strings.HasPrefix(alg, "HS") {
			all = append(all, map[string]any{"alg": alg, "secret": secret})
		} else {
			all = append(all, map[string]any{"alg": alg, "pem": s.pubs[alg], "kid": alg})
		}
	}
	every := plugintest.Load(t, module, map[string]any{"keys": all}, noNet)
	for _, alg := range algs {
		token := s.sign(t, alg, map[string]any{"kid": alg}, good())
		for range 2 { // the second time from the cache
			if res, passed := every.Do(get(token), nil); res.Code != 200 || passed == nil {
				t.Errorf("%s: %d %s", alg, res.Code, res.Body)
			}
		}
		if res, passed := every.Do(get(token[:len(token)-8]+"AAAAAAAA"), nil); res.Code != 401 || passed != nil {
			t.Errorf("%s with a wrong signature: %d", alg, res.Code)
		}
	}
	for _, trick := range []struct{ name, token string }{
		{"none", s.sign(t, "none", nil, good())},
		{"None", s.sign(t, "None", nil, good())},
		{"no alg", s.sign(t, "", map[string]any{"alg": nil}, good())},
		{"critical", s.sign(t, "HS256", map[string]any{"crit": []string{"exp"}}, good())},
		{"its own key", s.sign(t, "EdDSA", map[string]any{"kid": "x", "jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(s.ed.Public().(ed25519.PublicKey))}}, good())},
		{"no signature", strings.Join(strings.Split(s.sign(t, "HS256", nil, good()), ".")[:2], ".") + "."},
		{"four parts", s.sign(t, "HS256", nil, good()) + ".x"},
		{"too large", s.sign(t, "HS256", nil, good("x", strings.Repeat("x", maxToken)))},
	} {
		if res, passed := every.Do(get(trick.token), nil); res.Code != 401 || passed != nil || !strings.Contains(res.Header().Get("Www-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: %d %v", trick.name, res.Code, res.Header())
		}
	}
	// The public key as the secret of an HMAC: the classic confusion.
	confused := plugintest.Load(t, module, map[string]any{"keys": []any{map[string]any{"alg": "RS256", "pem": s.pubs["RS256"]}}}, noNet)
	signed, _, _ := strings.Cut(s.sign(t, "HS256", nil, good()), ".")
	signed += "." + strings.Split(s.sign(t, "HS256", nil, good()), ".")[1]
	mac := hmac.New(crypto.SHA256.New, []byte(s.pubs["RS256"]))
	mac.Write([]byte(signed))
	if res, _ := confused.Do(get(signed+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil))), nil); res.Code != 401 {
		t.Errorf("an HMAC with the public key: %d", res.Code)
	}
	if res, _ := confused.Do(get(s.sign(t, "PS256", nil, good())), nil); res.Code != 401 {
		t.Errorf("PS256 with a key for RS256: %d", res.Code)
	}
}

func testClaims(t *testing.T, module string, s *signers) {
	p := plugintest.Load(t, module, map[string]any{
		"keys": []any{map[string]any{"secret": secret}}, "issuer": "https://issuer.test", "audience": []string{"api", "web"},
		"require": []string{"exp", "sub"}, "scopes": "read", "claims": map[string]any{"/realm/roles": []string{"admin", "ops"}},
		"leeway": "10s", "realm": "shop", "type": "at+jwt",
	}, noNet)
	now, roles := time.Now().Unix(), map[string]any{"roles": []string{"user", "ops"}}
	for _, row := range []struct {
		name   string
		claims map[string]any
		status int
		detail string
	}{
		{"good", good("realm", roles), 200, ""},
		{"within leeway", good("realm", roles, "exp", now-5, "nbf", now+5, "iat", now+5), 200, ""},
		{"aud as a text", good("realm", roles, "aud", "web"), 200, ""},
		{"fractional exp", good("realm", roles, "exp", float64(now)+100.5), 200, ""},
		{"expired", good("realm", roles, "exp", now-60), 401, "expired"},
		{"not yet", good("realm", roles, "nbf", now+60), 401, "not valid yet"},
		{"issued tomorrow", good("realm", roles, "iat", now+86400), 401, "not valid yet"},
		{"exp as text", good("realm", roles, "exp", "9999999999"), 401, "no number"},
		{"without exp", good("realm", roles, "exp", nil), 401, "not all claims"},
		{"without sub", good("realm", roles, "sub", nil), 401, "not all claims"},
		{"other issuer", good("realm", roles, "iss", "https://issuer.test/"), 401, "issuer"},
		{"no issuer", good("realm", roles, "iss", nil), 401, "issuer"},
		{"other audience", good("realm", roles, "aud", "apis"), 401, "audience"},
		{"no audience", good("realm", roles, "aud", nil), 401, "audience"},
		{"scope missing", good("realm", roles, "scope", "reader"), 403, "scopes"},
		{"role missing", good("realm", map[string]any{"roles": []string{"user"}}), 403, "permit"},
		{"no roles", good(), 403, "permit"},
	} {
		res, passed := p.Do(get(s.sign(t, "HS256", map[string]any{"typ": "application/at+JWT"}, row.claims)), nil)
		if res.Code != row.status || (passed != nil) != (row.status == 200) || row.detail != "" && !strings.Contains(res.Body.String(), row.detail) {
			t.Errorf("%s: %d %s, want %d %s", row.name, res.Code, res.Body, row.status, row.detail)
		}
		challenge := res.Header().Get("Www-Authenticate")
		if row.status == 401 && !strings.HasPrefix(challenge, `Bearer realm="shop", error="invalid_token", error_description="`) ||
			row.name == "scope missing" && !strings.HasSuffix(challenge, `error="insufficient_scope", error_description="the token does not have the scopes that are needed", scope="read"`) {
			t.Errorf("%s: challenge %s", row.name, challenge)
		}
	}
	if res, _ := p.Do(get(s.sign(t, "HS256", map[string]any{"typ": "JWT"}, good("realm", roles))), nil); res.Code != 401 {
		t.Errorf("another type: %d", res.Code)
	}
	// RFC 6750, 3.1: without a token no error; with two of them a bad request.
	if res, _ := p.Do(get(""), nil); res.Code != 401 || res.Header().Get("Www-Authenticate") != `Bearer realm="shop"` {
		t.Errorf("without a token: %d %v", res.Code, res.Header())
	}
	two := get("a.b.c")
	two.Header.Add("Authorization", "bearer d.e.f")
	if res, _ := p.Do(two, nil); res.Code != 400 || !strings.Contains(res.Header().Get("Www-Authenticate"), `error="invalid_request"`) {
		t.Errorf("two tokens: %d %v", res.Code, res.Header())
	}
	off := httptest.NewRequest("GET", "/?access_token="+s.sign(t, "HS256", nil, good("realm", roles)), nil)
	off.AddCookie(&http.Cookie{Name: "jwt", Value: s.sign(t, "HS256", nil, good("realm", roles))})
	if res, _ := p.Do(off, nil); res.Code != 401 {
		t.Errorf("tokens of cookies and queries, which are off: %d", res.Code)
	}
}

func testForwarding(t *testing.T, module string, s *signers) {
	p := plugintest.Load(t, module, map[string]any{
		"keys":  []any{map[string]any{"secret_base64": base64.StdEncoding.EncodeToString([]byte(secret))}},
		"token": map[string]any{"cookie": "jwt", "query": "access_token"}, "optional": true, "remove_token": true,
		"forward": map[string]any{"X-User": "sub", "X-Roles": "/realm/roles", "X-Level": "level"}, "variables": map[string]any{"jwt.sub": "sub"},
	}, noNet)
	token := s.sign(t, "HS256", nil, good("realm", map[string]any{"roles": []string{"a", "b"}}))
	forge := func(r *http.Request) *http.Request {
		r.Header["X-User"], r.Header["X_user"], r.Header["X_roles"], r.Header["X-Level"] = []string{"root"}, []string{"root"}, []string{"root"}, []string{"9"}
		return r
	}
	cookie := httptest.NewRequest("GET", "/", nil)
	cookie.Header["Cookie"] = []string{"a=b; jwt=" + token + "; c=d"}
	cookie.Header.Set("Authorization", "Basic YTpi") // for who is behind
	for name, r := range map[string]*http.Request{"header": get(token), "cookie": cookie, "query": httptest.NewRequest("GET", "/?a=b&access_token="+token, nil)} {
		res, passed := p.Do(forge(r), nil)
		if res.Code != 200 || passed == nil {
			t.Errorf("%s: %d %s", name, res.Code, res.Body)
			continue
		}
		if got := fmt.Sprint(passed.Header["X-User"], passed.Header["X-Roles"], passed.Vars); got != `[alice] [["a","b"]] map[jwt.sub:alice]` {
			t.Errorf("%s: told %s", name, got)
		}
		for gone := range passed.Header {
			if strings.Contains(gone, "_") || gone == "X-Level" || gone == "Authorization" && name != "cookie" {
				t.Errorf("%s: %s is still there", name, gone)
			}
		}
		if name == "cookie" && (passed.Header.Get("Cookie") != "a=b; c=d" || passed.Header.Get("Authorization") != "Basic YTpi") {
			t.Errorf("header after the cookie was taken: %v", passed.Header)
		}
	}
	// Without a token it goes on, but as nobody.
	if res, passed := p.Do(forge(get("")), nil); res.Code != 200 || passed == nil || passed.Header.Get("X-User") != "" || len(passed.Vars) != 0 {
		t.Errorf("optional: %d %+v", res.Code, passed)
	}
	if res, passed := p.Do(get("x"), nil); res.Code != 401 || passed != nil {
		t.Errorf("optional with a bad token: %d", res.Code)
	}
	if res, _ := p.Do(get(s.sign(t, "HS256", nil, good("sub", "a\r\nX-Admin: 1"))), nil); res.Code != 401 {
		t.Errorf("a claim with a line break: %d", res.Code)
	}
}

func testKeySet(t *testing.T, module string, s *signers) {
	var current atomic.Pointer[string]
	var asked atomic.Int64
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if text := current.Load(); text != nil {
			fmt.Fprint(w, *text)
			return
		}
		w.WriteHeader(500)
	}))
	t.Cleanup(issuer.Close)
	publish := func(kids ...string) {
		text := `{"keys": [{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString([]byte(secret)) + `","kid":"oct"}, {"kty":"future"}`
		for _, kid := range kids {
			text += fmt.Sprintf(`, {"kty":"OKP","crv":"Ed25519","use":"sig","kid":%q,"x":%q}`, kid, base64.RawURLEncoding.EncodeToString(s.ed.Public().(ed25519.PublicKey)))
		}
		text += "]}"
		current.Store(&text)
	}
	load := func(refresh, cooldown string) *plugintest.Plugin {
		return plugintest.Load(t, module, map[string]any{"jwks": map[string]any{"url": issuer.URL + "/jwks", "refresh": refresh, "cooldown": cooldown}},
			plugintest.Allow(wasmhost.Allow{Net: []string{issuer.URL + "/jwks"}}), func(m *wasmhost.ModuleConfig) { m.Instances.Max = 1 })
	}
	token := func(kid string) *http.Request { return get(s.sign(t, "EdDSA", map[string]any{"kid": kid}, good())) }
	expect := func(p *plugintest.Plugin, what string, r *http.Request, status int, fetches int64) {
		t.Helper()
		if res, _ := p.Do(r, nil); res.Code != status || asked.Load() != fetches {
			t.Errorf("%s: %d %s after %d fetches; want %d after %d", what, res.Code, res.Body, asked.Load(), status, fetches)
		}
	}
	p := load("10m", "1h")
	expect(p, "no key set", token("one"), 503, 1)
	expect(p, "no key set, a moment later", token("one"), 503, 1)

	publish("one")
	p = load("10m", "1h")
	expect(p, "first", token("one"), 200, 2)
	expect(p, "cached", token("one"), 200, 2)
	expect(p, "secret of the key set", get(s.sign(t, "HS256", map[string]any{"kid": "oct"}, good())), 401, 2)
	expect(p, "unknown, within the cooldown", token("two"), 401, 2)
	expect(p, "again", token("three"), 401, 2)

	// Rotation: a new name is asked for, once the cooldown is over, and what is withdrawn is out.
	p = load("10m", "3s") // what comes in pairs may take that long on a busy machine
	expect(p, "first", token("one"), 200, 3)
	publish("two")
	time.Sleep(3100 * time.Millisecond)
	expect(p, "rotated", token("two"), 200, 4)
	expect(p, "withdrawn", token("one"), 401, 4)

	// Old keys serve on while the issuer is away.
	p = load("1s", "1s")
	expect(p, "first", token("two"), 200, 5)
	current.Store(nil)
	time.Sleep(1100 * time.Millisecond)
	expect(p, "issuer away", token("two"), 200, 6)
	if !strings.Contains(p.Log.String(), "cannot be had, old keys serve on") {
		t.Errorf("log: %s", p.Log)
	}

	// A set without a key of use is an answer: what was had withdraws the old ones. A set that is none is an outage.
	text := func(set string) { current.Store(&set) }
	publish("two")
	time.Sleep(1100 * time.Millisecond)
	expect(p, "issuer back", token("two"), 200, 7)
	text(`{"keys": 1}`)
	time.Sleep(1100 * time.Millisecond)
	expect(p, "no key set at all", token("two"), 200, 8)
	text(`{"keys": []}`)
	time.Sleep(1100 * time.Millisecond)
	expect(p, "all withdrawn", token("two"), 401, 9)
	if !strings.Contains(p.Log.String(), "has no key of use") {
		t.Errorf("log: %s", p.Log)
	}
	publish("two")
	p = load("10m", "3s")
	expect(p, "first", token("two"), 200, 10)
	text(fmt.Sprintf(`{"keys": [{"kty":"OKP","crv":"Ed25519","use":"enc","kid":"two","x":%q}]}`, base64.RawURLEncoding.EncodeToString(s.ed.Public().(ed25519.PublicKey))))
	time.Sleep(3100 * time.Millisecond)
	expect(p, "not for signing any more", token("three"), 401, 11)
	expect(p, "not for signing any more", token("two"), 401, 11)
}

func testConfiguration(t *testing.T, module string, s *signers) {
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(s.rsa)}))
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.ec["ES384"].Public(), s.ec["ES384"])
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	p := plugintest.Load(t, module, map[string]any{"keys": []any{map[string]any{"pem": cert}}}, noNet)
	if res, _ := p.Do(get(s.sign(t, "ES384", nil, good())), nil); res.Code != 200 {
		t.Errorf("the key of a certificate: %d %s", res.Code, res.Body)
	}
	key := func(members ...any) map[string]any {
		k := map[string]any{}
		for i := 0; i < len(members); i += 2 {
			k[members[i].(string)] = members[i+1]
		}
		return map[string]any{"keys": []any{k}}
	}
	with := func(name string, value any) map[string]any {
		c := key("secret", secret)
		c[name] = value
		return c
	}
	for _, row := range []struct {
		config map[string]any
		want   string
	}{
		{map[string]any{}, "config.keys: no key and no config.jwks"},
		{key("secret", "short"), "config.keys[0]: the secret has 5 bytes; HS256 needs at least 32"},
		{key("alg", "none", "secret", secret), `config.keys[0]: alg: "none" is none of`},
		{key("alg", "RS256", "secret", secret), "config.keys[0]: a key of this type is for HS256, HS384, HS512, not for RS256"},
		{key("alg", "HS256", "pem", s.pubs["RS256"]), "not for HS256"},
		{key("alg", "ES512", "pem", s.pubs["ES256"]), "a key of this type is for ES256, not for ES512"},
		{key("pem", private), "this is a private key"},
		{key("pem", "MIIB"), "it is not PEM"},
		{key("pem", publicPEM(t, small.Public())), "an RSA key of 1024 bits"},
		{key("secret", secret, "pem", "x"), "write one of secret, secret_base64, pem, jwk"},
		{key("jwk", map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "x and y of P-256 have 32 bytes"},
		{key("jwk", map[string]any{"kty": "RSA", "use": "enc"}), "not for verifying"},
		{with("issuers", "x"), "config.issuers: there is no such key; there are keys, jwks, issuer"},
		{with("leeway", "2h"), "config.leeway: 2h0m0s; at most 1h"},
		{with("leeway", 30), "config.leeway: must be a span of time, a text such as 30s"},
		{with("audience", []string{}), "config.audience: is empty"},
		{with("issuer", ""), "config.issuer: is empty"},
		{with("forward", map[string]any{"X_User": "sub"}), "config.forward"},
		{with("token", map[string]any{"header": ""}), "config.token: header, cookie and query are all off"},
		{with("jwks", map[string]any{"url": "http://issuer.test/"}), "config.jwks.url: keys that come over http"},
		{with("jwks", map[string]any{"url": "https://issuer.test/", "algorithms": []string{"HS256"}}), "config.jwks.algorithms"},
		{with("jwks", map[string]any{"url": "https://issuer.test/", "cooldown": "1ms"}), "config.jwks.cooldown"},
	} {
		text, err := json.Marshal(row.config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseConfig(text); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v: %v, want %s", row.config, err, row.want)
		}
	}
	if _, err := plugintest.TryLoad(t, module, key("secret", "short"), noNet); err == nil || !strings.Contains(err.Error(), "config.keys[0]: the secret has 5 bytes") {
		t.Errorf("a short secret: %v", err)
	}
}
