package jwtkeys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edge-server/edge/ws/jwtkeys"
)

func newECKey(t testing.TB, id string) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding
	return key, fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":%q,"x":%q,"y":%q}`, id, enc.EncodeToString(point[1:33]), enc.EncodeToString(point[33:]))
}

// TestKeysAtAURL: they are fetched once for many clients; what cannot be used is left out, a secret that is published above all; and a server
// that is gone refuses tokens with the reason.
func TestKeysAtAURL(t *testing.T) {
	t.Parallel()
	key, public := newECKey(t, "one")
	stranger, _ := newECKey(t, "two")
	var asked atomic.Int64
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"keys": [{"kty":"oct","kid":"shared","k":%q}, {"kty":"new"}, %s]}`, base64.RawURLEncoding.EncodeToString([]byte(secret)), public)
	}))
	t.Cleanup(s.Close)
	v := verifier(t, jwtkeys.Config{JWKSURL: s.URL, Secret: secret + " of the file"}, "", "")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := v.Verify(sign(t, jwt.SigningMethodES256, key, jwt.MapClaims{"sub": "a"}, "kid", "one")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if _, err := v.Verify(sign(t, jwt.SigningMethodHS256, []byte(secret+" of the file"), jwt.MapClaims{})); err != nil {
		t.Errorf("a secret beside the URL: %v", err)
	}
	for what, token := range map[string]string{
		"a published secret": sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{}, "kid", "shared"),
		"somebody else":      sign(t, jwt.SigningMethodES256, stranger, jwt.MapClaims{}, "kid", "one"),
		"a key of no set":    sign(t, jwt.SigningMethodES256, stranger, jwt.MapClaims{}, "kid", "two"),
	} {
		if _, err := v.Verify(token); err == nil {
			t.Errorf("%s was believed", what)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("tokens that name any key had the keys fetched %d times at once", n)
	}

	status = http.StatusBadGateway
	v = verifier(t, jwtkeys.Config{JWKSURL: s.URL}, "", "")
	if _, err := v.Verify(sign(t, jwt.SigningMethodES256, key, jwt.MapClaims{})); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("without the keys: %v", err)
	}
	for _, bad := range []string{"ftp://x/y", "id.example.com", "https://u:hidden@x/"} {
		if _, err := (&jwtkeys.Config{JWKSURL: bad}).Load(); err == nil || !strings.Contains(err.Error(), "jwks_url: must be") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := (&jwtkeys.Config{JWKSURL: s.URL, Algorithms: []string{"HS256"}}).Load(); err == nil {
		t.Error("HS256 with published keys is accepted")
	}
}

// TestFollow: a ring of the same URL has what the one before has fetched, without another fetch; files are its own.
func TestFollow(t *testing.T) {
	t.Parallel()
	key, public := newECKey(t, "one")
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprintf(w, `{"keys": [%s]}`, public)
	}))
	t.Cleanup(s.Close)
	open := func(cfg jwtkeys.Config, before *jwtkeys.Ring) *jwtkeys.Ring {
		t.Helper()
		r, err := cfg.Open()
		if err != nil {
			t.Fatal(err)
		}
		r.Follow(before)
		return r
	}
	verifies := func(r *jwtkeys.Ring, token string) bool {
		_, err := jwtkeys.NewVerifier(r, "", "").Verify(token)
		return err == nil
	}
	signed := sign(t, jwt.SigningMethodES256, key, jwt.MapClaims{}, "kid", "one")
	shared := sign(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{})
	first := open(jwtkeys.Config{JWKSURL: s.URL, Secret: secret}, nil)
	if !verifies(first, signed) || !verifies(first, shared) {
		t.Fatal("refused")
	}
	second := open(jwtkeys.Config{JWKSURL: s.URL, Secret: secret + " and another"}, first)
	if !verifies(second, signed) || verifies(second, shared) || !verifies(first, shared) {
		t.Error("the second ring has other keys than it should")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if r := open(jwtkeys.Config{JWKSURL: s.URL, Algorithms: []string{"RS256"}}, second); verifies(r, signed) {
		t.Error("an algorithm that is no longer allowed is accepted")
	}
	if r := open(jwtkeys.Config{Secret: secret}, second); verifies(r, signed) || !verifies(r, shared) {
		t.Error("without jwks_url its keys are still there")
	}
}
