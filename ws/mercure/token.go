package mercure

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/edge-server/edge/internal/jsonproblem"
	"github.com/edge-server/edge/ws/jwtkeys"
)

// grants are what a token allows its bearer.
type grants struct {
	publish   []*selector
	subscribe []*selector
	payloads  []payload // the first that matches a subscription is shown with it
	expires   time.Time // zero: never
	user      string    // the claim sub
}

// payload is what subscriptions whose selectors match are shown with. Without selectors: all.
type payload struct {
	match []*selector
	value json.RawMessage
}

func (g *grants) mayPublish(topics []string) bool {
	for _, t := range topics {
		if !slices.ContainsFunc(g.publish, func(s *selector) bool { return s.matches(t) }) {
			return false
		}
	}
	return true
}

// mayRead reports whether private updates of one of the topics are for the bearer.
func (g *grants) mayRead(topics []string) bool { return g != nil && anyMatches(g.subscribe, topics) }

func (g *grants) payloadOf(s *selector) json.RawMessage {
	if g == nil {
		return nil
	}
	for _, p := range g.payloads {
		if p.match == nil || slices.ContainsFunc(p.match, func(m *selector) bool { return m.covers(s) }) {
			return p.value
		}
	}
	return nil
}

// covers treats the text of another selector as if it were a topic.
func (s *selector) covers(other *selector) bool {
	return s.all || s.text == other.text && (s.kind == other.kind || s.kind == matchExact) || s.matches(other.text)
}

const (
	maxToken          = 16 << 10
	maxClaimSelectors = 1000
)

// claims is what is read of a token's payload.
type claims struct {
	jwt.RegisteredClaims
	Mercure    *mercureClaim     `json:"mercure"`
	Namespaced *mercureClaim     `json:"https://mercure.rocks/"`
	Details    []json.RawMessage `json:"authorization_details"`
}

type mercureClaim struct {
	Publish   []string        `json:"publish"`
	Subscribe []string        `json:"subscribe"`
	Payload   json.RawMessage `json:"payload"`
}

// verifier checks the tokens of one role.
type verifier struct {
	keys      *jwtkeys.Ring
	algs      []string
	protocol  int
	issuer    string // protocol 1
	audience  string
	selectors *selectorCache
	limits    *Limits
	now       func() time.Time
}

func newVerifier(keys *jwtkeys.Ring, c *selectorCache, limits *Limits, now func() time.Time) *verifier {
	return &verifier{keys: keys, algs: keys.Algorithms(), selectors: c, limits: limits, now: now}
}

// verify returns what a token allows. The error says why it is refused, for those who debug the hub; clients of protocol 1 are not told.
func (v *verifier) verify(token string) (*grants, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("it is longer than %d bytes", maxToken)
	}
	options := []jwt.ParserOption{jwt.WithValidMethods(v.algs), jwt.WithTimeFunc(v.now), jwt.WithStrictDecoding()}
	if v.protocol == 1 {
		options = append(options, jwt.WithExpirationRequired(), jwt.WithIssuer(v.issuer), jwt.WithAudience(v.audience))
	}
	var c claims
	parsed, err := jwt.NewParser(options...).ParseWithClaims(token, &c, v.keys.Choose)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("its %s", jsonproblem.Text(err))
	}
	if err != nil {
		return nil, err
	}
	g := &grants{user: c.Subject}
	if c.ExpiresAt != nil {
		g.expires = c.ExpiresAt.Time
	}
	if _, critical := parsed.Header["crit"]; critical {
		return nil, errors.New("crit names extensions, and none is known here")
	}
	if v.protocol == 1 {
		typ, _ := parsed.Header["typ"].(string)
		if typ = strings.ToLower(typ); strings.TrimPrefix(typ, "application/") != "at+jwt" {
			return nil, errors.New("typ is not at+jwt")
		}
		return g, v.readDetails(g, c.Details)
	}
	claim := c.Mercure
	if claim == nil {
		claim = c.Namespaced
	}
	if claim == nil {
		return g, nil
	}
	if len(claim.Payload) > 0 && string(claim.Payload) != "null" {
		g.payloads = []payload{{nil, claim.Payload}}
	}
	return g, errors.Join(v.readSelectors(&g.publish, "publish", claim.Publish), v.readSelectors(&g.subscribe, "subscribe", claim.Subscribe))
}

func (v *verifier) readSelectors(to *[]*selector, name string, texts []string) error {
	if len(texts) > maxClaimSelectors {
		return fmt.Errorf("mercure.%s has more than %d selectors", name, maxClaimSelectors)
	}
	for _, text := range texts {
		if len(text) > v.limits.Topic {
			return fmt.Errorf("mercure.%s has a selector longer than %d bytes", name, v.limits.Topic)
		}
		s, err := v.selectors.parse(matchSelector, text)
		if err != nil {
			return err
		}
		*to = append(*to, s)
	}
	return nil
}

const detailType = "https://mercure.rocks/authorization-detail"

// detail is one entry of authorization_details that is Mercure's.
type detail struct {
	Type    string            `json:"type"`
	Actions []string          `json:"actions"`
	Topics  []json.RawMessage `json:"topics"`
	Payload json.RawMessage   `json:"payload"`
}

// readDetails is protocol 1's way. One mistake refuses the whole token: what it meant to allow is not known.
func (v *verifier) readDetails(g *grants, details []json.RawMessage) error {
	if len(details) > maxClaimSelectors {
		return fmt.Errorf("authorization_details has more than %d entries", maxClaimSelectors)
	}
	for i, raw := range details {
		var kind struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(raw, &kind); err != nil {
			return fmt.Errorf("authorization_details[%d]: %w", i, err)
		}
		if kind.Type != detailType {
			continue
		}
		var d detail
		if err := json.Unmarshal(raw, &d); err != nil {
			return fmt.Errorf("authorization_details[%d]: %w", i, err)
		}
		if err := v.readDetail(g, &d); err != nil {
			return fmt.Errorf("authorization_details[%d]: %w", i, err)
		}
	}
	return nil
}

func (v *verifier) readDetail(g *grants, d *detail) error {
	if len(d.Actions) == 0 || len(d.Topics) == 0 || len(d.Topics) > maxClaimSelectors {
		return fmt.Errorf("actions and topics must have between 1 and %d entries", maxClaimSelectors)
	}
	var list []*selector
	for i, raw := range d.Topics {
		var t struct {
			Match *string    `json:"match"`
			Type  *matchType `json:"match_type"`
		}
		if err := json.Unmarshal(raw, &t); err != nil || t.Match == nil {
			return fmt.Errorf("topics[%d] is no object with match", i)
		}
		kind := matchExact
		if t.Type != nil {
			kind = *t.Type
		}
		if kind != matchExact && kind != matchURL {
			return fmt.Errorf("topics[%d]: match_type %q is not known", i, kind)
		}
		if len(*t.Match) > v.limits.Topic || !cleanText(*t.Match) {
			return fmt.Errorf("topics[%d]: match is longer than %d bytes, or has characters that are not seen", i, v.limits.Topic)
		}
		s, err := v.selectors.parse(kind, *t.Match)
		if err != nil {
			return fmt.Errorf("topics[%d]: %w", i, err)
		}
		list = append(list, s)
	}
	if slices.Contains(d.Actions, "publish") {
		g.publish = append(g.publish, list...)
	}
	if slices.Contains(d.Actions, "subscribe") {
		g.subscribe = append(g.subscribe, list...)
		if len(d.Payload) > 0 && string(d.Payload) != "null" {
			var object map[string]json.RawMessage
			if err := json.Unmarshal(d.Payload, &object); err != nil {
				return errors.New("payload is no object")
			}
			g.payloads = append(g.payloads, payload{list, d.Payload})
		}
	}
	return nil
}

// credential is a token as it came.
type credential struct {
	token  string
	cookie bool // the browser sent it by itself, perhaps for a page of somebody else
	query  bool
}

// credentialOf finds the token of a request: the header wins, then the query of protocol 0, then the cookie. A header that is no bearer
// token is an error, and not a reason to look elsewhere.
func (s *Server) credentialOf(r *http.Request, query func(string) string) (credential, error) {
	if values := r.Header.Values("Authorization"); len(values) > 0 {
		scheme, token, ok := strings.Cut(values[0], " ")
		if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
			return credential{}, errors.New("Authorization must be: Bearer TOKEN")
		}
		return credential{token: strings.TrimSpace(token)}, nil
	}
	if s.cfg.Protocol == 0 {
		if token := query("authorization"); token != "" {
			return credential{token: token, query: true}, nil
		}
	}
	if c, err := r.Cookie(s.cfg.CookieName); err == nil && c.Value != "" {
		return credential{token: c.Value, cookie: true}, nil
	}
	return credential{}, nil
}
