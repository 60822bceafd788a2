package plugintest_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

// chain is an edge.yaml as users write it: five plugins on one route.
const chain = `
http:
  middleware: [trace-context]
  routes:
    - {match: {path: /api/*}, use: [ip-filter, jwt-auth, sign-response, json-schema], respond: hello}
    - {respond: elsewhere}
plugins:
  dir: ""
  modules:
    trace-context: {file: TRACE}
    ip-filter: {file: FILTER, config: {mode: allow, list: [127.0.0.0/8, "::1"]}}
    jwt-auth:
      file: JWT
      allow: {net: []}
      config:
        keys: [{secret: "a secret that is at least thirty-two bytes long"}]
        forward: {X-User: sub}
    sign-response:
      file: SIGN
      config:
        alg: ed25519
        key_id: k1
        pem: |
          -----BEGIN PRIVATE KEY-----
          MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
          -----END PRIVATE KEY-----
    json-schema:
      file: SCHEMA
      config:
        rules:
          - {path: /api/*, schema: {type: object, required: [name], properties: {name: {type: string, maxLength: 5}}}}
`

func token() string {
	part := base64.RawURLEncoding.EncodeToString
	signed := part([]byte(`{"alg":"HS256"}`)) + "." + part(fmt.Appendf(nil, `{"sub":"alice","exp":%d}`, time.Now().Add(time.Hour).Unix()))
	mac := hmac.New(sha256.New, []byte("a secret that is at least thirty-two bytes long"))
	mac.Write([]byte(signed))
	return signed + "." + part(mac.Sum(nil))
}

var signatureInput = regexp.MustCompile(`^sig=(\("@status" "content-type" "content-digest"\);created=\d+;keyid="k1";alg="ed25519")$`)

// TestServer runs the ready-made plugins in Go and C in a whole server, on each protocol.
func TestServer(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, strings.NewReplacer(
		"TRACE", plugintest.C(t, "trace-context"), "FILTER", plugintest.C(t, "ip-filter"),
		"JWT", plugintest.Go(t, "jwt-auth"), "SIGN", plugintest.Go(t, "sign-response"), "SCHEMA", plugintest.Go(t, "json-schema"),
	).Replace(chain))
	seed, err := base64.StdEncoding.DecodeString("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=")
	if err != nil {
		t.Fatal(err)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for _, row := range []struct {
			name, token, body string
			status            int
			want              string
		}{
			{"good", token(), `{"name": "x"}`, 200, "hello"},
			{"wrong body", token(), `{"name": "too long"}`, 422, `"pointer":"#/name"`},
			{"no JSON", token(), `{"name"`, 400, "it ends too early"},
			{"no token", "", `{"name": "x"}`, 401, "a token is needed"},
			{"bad token", token() + "x", `{"name": "x"}`, 401, "the token"},
		} {
			r, err := http.NewRequestWithContext(t.Context(), "POST", m.URL+"/api/things", strings.NewReader(row.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Request-Id", "mine")
			if row.token != "" {
				r.Header.Set("Authorization", "Bearer "+row.token)
			}
			res, body := m.Do(t, r)
			if res.StatusCode != row.status || !strings.Contains(body, row.want) {
				t.Errorf("%s: %d %s; want %d %s", row.name, res.StatusCode, body, row.status, row.want)
			}
			if res.Header.Get("Traceresponse") == "" || res.Header.Get("X-Request-Id") != "mine" {
				t.Errorf("%s: %v", row.name, res.Header)
			}
			if row.status == 401 {
				continue // it was answered before sign-response
			}
			in := signatureInput.FindStringSubmatch(res.Header.Get("Signature-Input"))
			if in == nil {
				t.Errorf("%s: signature-input %q", row.name, res.Header.Get("Signature-Input"))
				continue
			}
			sum := sha256.Sum256([]byte(body))
			text := fmt.Sprintf("\"@status\": %d\n\"content-type\": %s\n\"content-digest\": sha-256=:%s:\n\"@signature-params\": %s",
				res.StatusCode, res.Header.Get("Content-Type"), base64.StdEncoding.EncodeToString(sum[:]), in[1])
			sig, _ := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(res.Header.Get("Signature"), "sig=:"), ":"))
			if !ed25519.Verify(public, []byte(text), sig) {
				t.Errorf("%s: %s does not verify over\n%s", row.name, res.Header.Get("Signature"), text)
			}
		}
	})
}
