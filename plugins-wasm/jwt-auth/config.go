package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/plugins-wasm/shared/strict"
)

// settings are the configuration, ready for use, and what an instance has found out.
type settings struct {
	keys  []*key
	jwks  keySet
	rules rules
	known cache

	header, cookie, query string // where tokens come from
	typ                   string
	realm                 string
	optional, removeToken bool
	forward               map[string]string // header, in lower case: claim
	variables             map[string]string
}

// document is the configuration as edge.yaml has it.
type document struct {
	Keys []struct {
		KID          string         `json:"kid"`
		Alg          string         `json:"alg"`
		Secret       string         `json:"secret"`
		SecretBase64 string         `json:"secret_base64"`
		PEM          string         `json:"pem"`
		JWK          map[string]any `json:"jwk"`
	} `json:"keys"`
	JWKS *struct {
		URL        string   `json:"url"`
		Algorithms oneOrAll `json:"algorithms"`
		Refresh    duration `json:"refresh"`
		Cooldown   duration `json:"cooldown"`
		Timeout    duration `json:"timeout"`
		MaxStale   duration `json:"max_stale"`
	} `json:"jwks"`
	Issuer    oneOrAll            `json:"issuer"`
	Audience  oneOrAll            `json:"audience"`
	Leeway    *duration           `json:"leeway"`
	Require   *oneOrAll           `json:"require"`
	Scopes    oneOrAll            `json:"scopes"`
	Claims    map[string]oneOrAll `json:"claims"`
	Type      string              `json:"type"`
	Token     *source             `json:"token"`
	Forward   map[string]string   `json:"forward"`
	Variables map[string]string   `json:"variables"`
	Realm     string              `json:"realm"`
	Optional  bool                `json:"optional"`
	Remove    bool                `json:"remove_token"`
}

// source is where tokens come from.
type source struct {
	Header *string `json:"header"`
	Cookie string  `json:"cookie"`
	Query  string  `json:"query"`
}

// oneOrAll is a text, or a list of them.
type oneOrAll []string

func (o *oneOrAll) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*o = oneOrAll{one}
		return nil
	}
	if json.Unmarshal(text, (*[]string)(o)) != nil {
		return errors.New("must be a text or a list of texts; put them into quotes")
	}
	return nil
}

// duration is a text such as 30s.
type duration time.Duration

const longest = 30 * 24 * time.Hour

func (d *duration) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return errors.New("must be a span of time, a text such as 30s")
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no span of time; write 30s, 10m or 24h", s)
	}
	if parsed < 0 || parsed > longest {
		return fmt.Errorf("%s is not between 0s and %s", s, longest)
	}
	*d = duration(parsed)
	return nil
}

func parseConfig(text []byte) (*settings, error) {
	var doc document
	if err := strict.Read(text, &doc); err != nil {
		return nil, err
	}
	s := &settings{typ: doc.Type, realm: "edge", optional: doc.Optional, removeToken: doc.Remove, variables: doc.Variables}
	s.rules = rules{
		leeway: 30 * time.Second, issuers: doc.Issuer, audiences: doc.Audience, required: []string{"exp"}, scopes: doc.Scopes,
		values: map[string][]string{},
	}
	if doc.Leeway != nil {
		s.rules.leeway = time.Duration(*doc.Leeway)
	}
	if doc.Require != nil {
		s.rules.required = *doc.Require
	}
	for name, values := range doc.Claims {
		s.rules.values[name] = values
	}
	return s, errors.Join(doc.checkLists(), s.readKeys(&doc), s.readKeySet(&doc), s.readSource(doc.Token), s.readOutput(&doc), s.checkRules())
}

// checkLists refuses what would look like a condition and be none: an audience of nobody lets everybody in.
func (d *document) checkLists() error {
	lists := map[string]oneOrAll{"issuer": d.Issuer, "audience": d.Audience, "scopes": d.Scopes}
	if d.JWKS != nil {
		lists["jwks.algorithms"] = d.JWKS.Algorithms
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		if list := lists[name]; list != nil && len(list) == 0 || slices.Contains(list, "") {
			return fmt.Errorf("config.%s: is empty, or has an empty text: leave the key out if it is no condition", name)
		}
	}
	return nil
}

func (s *settings) readKeys(doc *document) error {
	if len(doc.Keys) == 0 && doc.JWKS == nil {
		return errors.New("config.keys: no key and no config.jwks: nothing could be verified")
	}
	if len(doc.Keys) > maxKeys {
		return fmt.Errorf("config.keys: %d keys; at most %d are taken", len(doc.Keys), maxKeys)
	}
	for n, entry := range doc.Keys {
		report := func(err error) error { return fmt.Errorf("config.keys[%d]: %w", n, err) }
		forms := 0
		for _, given := range []bool{entry.Secret != "", entry.SecretBase64 != "", entry.PEM != "", entry.JWK != nil} {
			if given {
				forms++
			}
		}
		if forms != 1 {
			return report(errors.New("write one of secret, secret_base64, pem, jwk"))
		}
		if _, ok := algorithmOf(entry.Alg); entry.Alg != "" && !ok {
			return report(fmt.Errorf("alg: %q is none of %s", entry.Alg, allAlgorithms))
		}
		k, alg, err := readKey(entry.Secret, entry.SecretBase64, entry.PEM, entry.JWK)
		if err != nil {
			return report(err)
		}
		if entry.Alg != "" && alg != "" && entry.Alg != alg {
			return report(fmt.Errorf("alg is %s, and %s in the jwk", entry.Alg, alg))
		}
		if entry.KID != "" {
			k.kid = entry.KID
		}
		if err := k.restrict(algorithmFor(k, cmp.Or(entry.Alg, alg))); err != nil {
			return report(err)
		}
		s.keys = append(s.keys, k)
	}
	return nil
}

// algorithmFor is what a key without alg is for: one algorithm, the usual one of its type.
func algorithmFor(k *key, alg string) []string {
	switch {
	case alg != "":
		return []string{alg}
	case k.secret != nil:
		return []string{"HS256"}
	case k.rsa != nil:
		return []string{"RS256"}
	}
	return nil // a curve has one
}

func readKey(secret, secretBase64, pem string, members map[string]any) (k *key, alg string, err error) {
	switch {
	case secret != "":
		return &key{secret: []byte(secret)}, "", nil
	case secretBase64 != "":
		raw, err := base64.StdEncoding.DecodeString(secretBase64)
		if err != nil {
			return nil, "", fmt.Errorf("secret_base64: %w", err)
		}
		return &key{secret: raw}, "", nil
	case pem != "":
		if k, err = readPEM(pem); err != nil {
			err = fmt.Errorf("pem: %w", err)
		}
		return k, "", err
	}
	j, err := readJWK(members)
	if err == nil {
		k, err = j.key()
	}
	if err != nil {
		return nil, "", fmt.Errorf("jwk: %w", err)
	}
	if _, ok := algorithmOf(j.alg); j.alg != "" && !ok {
		return nil, "", fmt.Errorf("jwk: alg: %q is none of %s", j.alg, allAlgorithms)
	}
	return k, j.alg, nil
}

func (s *settings) readKeySet(doc *document) error {
	if doc.JWKS == nil {
		return nil
	}
	or := func(d duration, usual time.Duration) time.Duration {
		if d == 0 {
			return usual
		}
		return time.Duration(d)
	}
	s.jwks = keySet{
		url: doc.JWKS.URL, algorithms: doc.JWKS.Algorithms,
		refresh: or(doc.JWKS.Refresh, 10*time.Minute), cooldown: or(doc.JWKS.Cooldown, 30*time.Second),
		timeout: or(doc.JWKS.Timeout, 5*time.Second), maxStale: or(doc.JWKS.MaxStale, 24*time.Hour),
	}
	if len(s.jwks.algorithms) == 0 {
		s.jwks.algorithms = []string{"RS256", "ES256", "EdDSA"}
	}
	for _, alg := range s.jwks.algorithms {
		if a, ok := algorithmOf(alg); !ok || a.kind == "HS" {
			return fmt.Errorf("config.jwks.algorithms: %q is no algorithm with public keys: %s", alg, strings.TrimPrefix(allAlgorithms, "HS256, HS384, HS512, "))
		}
	}
	u, err := url.Parse(s.jwks.url)
	switch {
	case err != nil:
		return fmt.Errorf("config.jwks.url: %w", err)
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("config.jwks.url: %q is not https://host/path", s.jwks.url)
	case u.Scheme == "http" && !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname()):
		return errors.New("config.jwks.url: keys that come over http can be replaced on their way; use https, or an address of this machine")
	case s.jwks.timeout > time.Minute:
		return fmt.Errorf("config.jwks.timeout: %s; at most 1m: requests wait for so long when no key is there yet", s.jwks.timeout)
	case s.jwks.cooldown < time.Second:
		return errors.New("config.jwks.cooldown: at least 1s, so that forged tokens do not make this server attack another")
	}
	return nil
}

func (s *settings) readSource(from *source) error {
	s.header = "authorization"
	if from == nil {
		return nil
	}
	if from.Header != nil {
		s.header = strings.ToLower(*from.Header)
	}
	s.cookie, s.query = from.Cookie, from.Query
	switch {
	case s.header == "" && s.cookie == "" && s.query == "":
		return errors.New("config.token: header, cookie and query are all off")
	case s.header != "" && !isToken(s.header):
		return fmt.Errorf("config.token.header: %q is no name of a header", s.header)
	case s.cookie != "" && !isToken(s.cookie):
		return fmt.Errorf("config.token.cookie: %q is no name of a cookie", s.cookie)
	}
	return nil
}

func (s *settings) readOutput(doc *document) error {
	s.forward = map[string]string{}
	for name, claim := range doc.Forward {
		lower := strings.ToLower(name)
		if !isToken(name) || strings.Contains(name, "_") || lower == "host" || claim == "" {
			return fmt.Errorf("config.forward: %q: %q: a name of a header (without _) and of a claim", name, claim)
		}
		if _, twice := s.forward[lower]; twice {
			return fmt.Errorf("config.forward: %q is there twice", name)
		}
		s.forward[lower] = claim
	}
	if _, taken := s.forward[s.header]; taken {
		return fmt.Errorf("config.forward: %q is where tokens come from", s.header)
	}
	for name, claim := range s.variables {
		if claim == "" || len(name) > 64 || strings.HasPrefix(name, "edge.") || !isToken(name) {
			return fmt.Errorf("config.variables: %q: %q: a name of a variable, such as jwt.sub, and of a claim", name, claim)
		}
	}
	if doc.Realm != "" {
		s.realm = doc.Realm
	}
	if strings.ContainsFunc(s.realm, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
		return errors.New("config.realm: letters, digits and marks, without quotes and backslashes")
	}
	return nil
}

func (s *settings) checkRules() error {
	if s.rules.leeway > time.Hour {
		return fmt.Errorf("config.leeway: %s; at most 1h", s.rules.leeway)
	}
	for _, scope := range s.rules.scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
			return fmt.Errorf("config.scopes: %q is no scope", scope)
		}
	}
	for name, values := range s.rules.values {
		if len(values) == 0 {
			return fmt.Errorf("config.claims.%s: no value would be good enough; use config.require for claims of any value", name)
		}
	}
	return nil
}

// isToken: RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}
