package jwtkeys_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/jwtkeys"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const secret = "a secret of at least thirty-two characters"

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims, header ...string) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i]] = header[i+1]
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func verifier(t testing.TB, cfg jwtkeys.Config, issuer, audience string) *jwtkeys.Verifier {
	t.Helper()
	keys, err := cfg.Open()
	if err != nil {
		t.Fatal(err)
	}
	return jwtkeys.NewVerifier(keys, issuer, audience)
}

func TestKeysOfEveryKind(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys": [{"kty": "oct", "kid": "other", "k": %q}, {"kty": "oct", "kid": "one", "alg": "HS256", "k": %q}]}`,
		base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("o", 32))), base64.RawURLEncoding.EncodeToString([]byte(secret)))
	claims := jwt.MapClaims{"sub": "anna", "exp": time.Now().Add(time.Hour).Unix()}
	for name, c := range map[string]struct {
		cfg    jwtkeys.Config
		method jwt.SigningMethod
		key    any
	}{
		"secret":  {jwtkeys.Config{Secret: secret}, jwt.SigningMethodHS256, []byte(secret)},
		"RSA":     {jwtkeys.Config{PublicKeyFile: write(t, "rsa.pem", publicPEM(t, &rsaKey.PublicKey))}, jwt.SigningMethodPS256, rsaKey},
		"EC":      {jwtkeys.Config{PublicKeyFile: write(t, "ec.pem", publicPEM(t, &ec.PublicKey))}, jwt.SigningMethodES256, ec},
		"Ed25519": {jwtkeys.Config{PublicKeyFile: write(t, "ed.pem", publicPEM(t, public))}, jwt.SigningMethodEdDSA, ed},
		"set":     {jwtkeys.Config{JWKSFile: write(t, "set.json", []byte(set))}, jwt.SigningMethodHS256, []byte(secret)},
	} {
		v := verifier(t, c.cfg, "", "")
		got, err := v.Verify(sign(t, c.method, c.key, claims, "kid", "one"))
		if err != nil || got["sub"] != "anna" || time.Until(got.Expires()) < 50*time.Minute {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}

	// The classic: a public key, which everybody has, is no secret of an HMAC.
	v := verifier(t, jwtkeys.Config{PublicKeyFile: write(t, "rsa.pem", publicPEM(t, &rsaKey.PublicKey))}, "", "")
	if _, err := v.Verify(sign(t, jwt.SigningMethodHS256, publicPEM(t, &rsaKey.PublicKey), claims)); err == nil {
		t.Error("a token signed with the public key was taken")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	v := verifier(t, jwtkeys.Config{Secret: secret}, "me", "you")
	base := func(change string, value any) jwt.MapClaims {
		c := jwt.MapClaims{"iss": "me", "aud": "you"}
		if change != "" {
			c[change] = value
		}
		return c
	}
	if _, err := v.Verify(sign(t, jwt.SigningMethodHS256, []byte(secret), base("", nil))); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for what, token := range map[string]string{
		"another issuer":    sign(t, jwt.SigningMethodHS256, []byte(secret), base("iss", "x")),
		"another audience":  sign(t, jwt.SigningMethodHS256, []byte(secret), base("aud", "x")),
		"expired":           sign(t, jwt.SigningMethodHS256, []byte(secret), base("exp", time.Now().Add(-time.Minute).Unix())),
		"not yet":           sign(t, jwt.SigningMethodHS256, []byte(secret), base("nbf", time.Now().Add(time.Minute).Unix())),
		"another secret":    sign(t, jwt.SigningMethodHS256, []byte(secret+"x"), base("", nil)),
		"another algorithm": sign(t, jwt.SigningMethodHS384, []byte(secret), base("", nil)),
		"unsigned":          sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, base("", nil)),
		"crit":              sign(t, jwt.SigningMethodHS256, []byte(secret), base("", nil), "crit", "x"),
		"nothing":           "", "dots": "..", "long": strings.Repeat("a", 17<<10),
	} {
		if claims, err := v.Verify(token); err == nil {
			t.Errorf("%s: taken, %v", what, claims)
		}
	}
	for text, cfg := range map[string]jwtkeys.Config{
		"secret: must have at least 32":  {Secret: "short"},
		"public_key_file: ":              {PublicKeyFile: filepath.Join(t.TempDir(), "none")},
		"no key of the section":          {Secret: secret, Algorithms: []string{"RS256"}},
		"has no keys for signatures":     {JWKSFile: write(t, "empty.json", []byte(`{"keys": []}`))},
		"a private key":                  {PublicKeyFile: write(t, "private.pem", []byte("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"))},
		"keys[0]: k is not base64url":    {JWKSFile: write(t, "bad.json", []byte(`{"keys": [{"kty": "oct", "k": "?"}]}`))},
		"keys[0]: a secret of 1 bytes; ": {JWKSFile: write(t, "short.json", []byte(`{"keys": [{"kty": "oct", "k": "YQ"}]}`))},
	} {
		if _, err := cfg.Load(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v; want %q", cfg, err, text)
		}
	}
}

func FuzzVerify(f *testing.F) {
	keys, err := (&jwtkeys.Config{Secret: secret}).Open()
	if err != nil {
		f.Fatal(err)
	}
	v := jwtkeys.NewVerifier(keys, "", "")
	f.Add(sign(f, jwt.SigningMethodHS256, []byte(secret+"x"), jwt.MapClaims{"exp": 1}))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if claims, err := v.Verify(token); err == nil {
			t.Errorf("nobody has signed %q, which says %v", token, claims)
		}
	})
}
