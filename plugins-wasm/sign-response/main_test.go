package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

// The keys of RFC 9421, B.1.4 and B.1.5.
const (
	rfcEd     = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n"
	rfcSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)

// TestVectors: RFC 9421, B.2.5 and B.2.6. They sign requests; what differs is where values come from.
func TestVectors(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct{ config, covered, values, parameters, signature string }{
		"B.2.5": {
			`{"alg": "hmac-sha256", "key_id": "test-shared-secret", "secret_base64": "` + rfcSecret + `"}`,
			"date @authority content-type", "Tue, 20 Apr 2021 02:07:55 GMT|example.com|application/json",
			`("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
			"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
		},
		"B.2.6": {
			`{"alg": "ed25519", "key_id": "test-key-ed25519", "pem": ` + strconv.Quote(rfcEd) + `}`,
			"date @method @path @authority content-type content-length", "Tue, 20 Apr 2021 02:07:55 GMT|POST|/foo|example.com|application/json|18",
			`("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
		},
	} {
		s, err := parseConfig([]byte(v.config))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s.alg = "" // the examples leave it out
		var covered []component
		for name := range strings.FieldsSeq(v.covered) {
			covered = append(covered, component{name: name})
		}
		parameters := s.parameters(covered, time.Unix(1618884473, 0))
		if parameters != v.parameters {
			t.Errorf("%s: parameters %s", name, parameters)
		}
		text := base(covered, strings.Split(v.values, "|"), parameters)
		if got := base64.StdEncoding.EncodeToString(s.key.sign([]byte(text))); got != v.signature {
			t.Errorf("%s: signature %s of\n%s", name, got, text)
		}
	}
	// RFC 9530, appendix D, and RFC 9421, B.2.
	for body, want := range map[string]string{
		"{\"hello\": \"world\"}\n": "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
		`{"hello": "world"}`:       "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
	} {
		if got := contentDigest(strings.NewReader(body)); got != want {
			t.Errorf("digest of %q: %s", body, got)
		}
	}
}

var input = regexp.MustCompile(`^app=(\(.*\);created=(\d+);expires=(\d+);keyid="k1";alg="([a-z0-9-]+)";tag="shop")$`)

// TestPlugin verifies what the plugin signs, as a client would.
func TestPlugin(t *testing.T) {
	t.Parallel()
	module := plugintest.Go(t, "sign-response")
	seed, err := base64.StdEncoding.DecodeString("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=")
	if err != nil {
		t.Fatal(err)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	verify := map[string]func(text, sig []byte) bool{
		"ed25519": func(text, sig []byte) bool { return ed25519.Verify(public, text, sig) },
		"hmac-sha256": func(text, sig []byte) bool {
			mac := hmac.New(sha256.New, []byte("a secret of at least thirty-two bytes"))
			mac.Write(text)
			return hmac.Equal(mac.Sum(nil), sig)
		},
	}
	for alg, key := range map[string]map[string]any{"ed25519": {"pem": rfcEd}, "hmac-sha256": {"secret": "a secret of at least thirty-two bytes"}} {
		config := map[string]any{
			"alg": alg, "key_id": "k1", "label": "app", "tag": "shop", "expires": "5m",
			"components": []string{"@status", "content-type", "content-digest", "x-list", "x-none", "@method;req", "@path;req", "@query;req", "@authority;req", "x-ask;req"},
		}
		for name, value := range key {
			config[name] = value
		}
		p := plugintest.Load(t, module, config)
		for _, method := range []string{"GET", "HEAD"} {
			r := httptest.NewRequest(method, "http://Shop.Test/a/b?c=d", nil)
			r.Header.Set("X-Ask", " what ")
			res, _ := p.Do(r, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.Header()["X-List"] = []string{"a, b", "c"}
				w.Header().Set("Content-Digest", "sha-256=:wrong:")
				w.Header()["Signature-Input"] = []string{`proxy=("@status")`}
				w.Header()["Signature"] = []string{`proxy=:AAAA:`}
				w.WriteHeader(201)
				if method == "GET" {
					w.Write([]byte(`{"hello": "world"}`))
				}
			})
			inputs, signatures := res.Header().Values("Signature-Input"), res.Header().Values("Signature")
			if len(inputs) != 2 || len(signatures) != 2 || inputs[0] != `proxy=("@status")` {
				t.Fatalf("%s: %q %q", alg, inputs, signatures)
			}
			parts := input.FindStringSubmatch(inputs[1])
			if parts == nil || parts[4] != alg {
				t.Fatalf("%s: %s", alg, inputs[1])
			}
			digest := "\"content-digest\": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:\n"
			if method == "HEAD" {
				digest = ""
			}
			text := "\"@status\": 201\n\"content-type\": text/plain\n" + digest + "\"x-list\": a, b, c\n" +
				"\"@method\";req: " + method + "\n\"@path\";req: /a/b\n\"@query\";req: ?c=d\n\"@authority\";req: shop.test\n\"x-ask\";req: what\n" +
				"\"@signature-params\": " + parts[1]
			sig, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(signatures[1], "app=:"), ":"))
			if err != nil || !verify[alg]([]byte(text), sig) {
				t.Errorf("%s %s: %s does not verify over\n%s\n%v", alg, method, signatures[1], text, err)
			}
			created, _ := strconv.ParseInt(parts[2], 10, 64)
			expires, _ := strconv.ParseInt(parts[3], 10, 64)
			if d := time.Since(time.Unix(created, 0)); d < -time.Minute || d > time.Minute || expires != created+300 {
				t.Errorf("%s: created %d, expires %d", alg, created, expires)
			}
			if method == "GET" && res.Body.String() != `{"hello": "world"}` {
				t.Errorf("%s: body %q", alg, res.Body)
			}
		}
	}
	if _, err := plugintest.TryLoad(t, module, map[string]any{"alg": "ed25519", "key_id": "k", "key_env": "RESPONSE_KEY"}); err == nil ||
		!strings.Contains(err.Error(), "config.key_env: the variable RESPONSE_KEY is empty, or not in allow.env") {
		t.Errorf("without the variable: %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	const start = `{"alg": "hmac-sha256", "key_id": "k", "secret": "a secret of at least thirty-two bytes"`
	for text, want := range map[string]string{
		`{}`:                         "config.key_id: it is missing",
		`{"key": 1}`:                 `config.key: there is no such key; there are alg`,
		`{"alg": "rsa-v1_5-sha256"}`: `config.alg: "rsa-v1_5-sha256" is neither hmac-sha256 nor ed25519`,
		`{"alg": "hmac-sha256"}`:     "hmac-sha256 needs one of secret, secret_base64, key_env",
		`{"alg": "hmac-sha256", "secret": "short"}`:       "config.secret: it has 5 bytes, and needs at least 32",
		`{"alg": "ed25519", "pem": "x"}`:                  "config.pem: it is not PEM",
		`{"alg": "ed25519", "secret": "x"}`:               "ed25519 needs pem or key_env",
		start + `, "label": "Sig"}`:                       `config.label: "Sig"`,
		start + `, "expires": "1"}`:                       "config.expires",
		start + `, "components": ["@status"]}`:            "config.components: content-digest is missing",
		start + `, "components": ["content-digest"]}`:     "config.components: @status is missing",
		start + `, "components": ["@method"]}`:            `@method is of the request: write "@method;req"`,
		start + `, "components": ["Date"]}`:               `config.components[0]: "Date" is none of`,
		start + `, "components": ["date"]}`:               `"date" is written after signing`,
		start + `, "components": ["@status", "@status"]}`: "is there twice",
	} {
		if _, err := parseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}
