package jwtkeys

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxToken bounds what is parsed.
const maxToken = 16 << 10

// Choose finds the keys that a token may have been signed with: those of its algorithm, and of its kid if one has that.
func Choose(keys []Key, t *jwt.Token) (any, error) {
	alg, _ := t.Header["alg"].(string)
	kid, _ := t.Header["kid"].(string)
	var byID, all []jwt.VerificationKey
	for _, k := range keys {
		if !slices.Contains(k.Algorithms, alg) {
			continue
		}
		all = append(all, k.Material)
		if kid != "" && k.ID == kid {
			byID = append(byID, k.Material)
		}
	}
	if len(byID) > 0 {
		all = byID
	}
	if len(all) == 0 {
		return nil, errors.New("no key has the token's algorithm")
	}
	return jwt.VerificationKeySet{Keys: all}, nil
}

// Verifier checks tokens.
type Verifier struct {
	keys   *Ring
	parser *jwt.Parser
}

// NewVerifier makes one for tokens of an issuer and an audience; empty is any.
func NewVerifier(keys *Ring, issuer, audience string) *Verifier {
	options := []jwt.ParserOption{jwt.WithValidMethods(keys.Algorithms()), jwt.WithStrictDecoding(), jwt.WithLeeway(leeway)}
	if issuer != "" {
		options = append(options, jwt.WithIssuer(issuer))
	}
	if audience != "" {
		options = append(options, jwt.WithAudience(audience))
	}
	return &Verifier{keys, jwt.NewParser(options...)}
}

// leeway is how far the clocks of two servers may be apart.
const leeway = 5 * time.Second

// Claims are what a token says.
type Claims map[string]any

// Expires is the time after which the token says nothing any more, the zero time without one.
func (c Claims) Expires() time.Time {
	at, err := jwt.MapClaims(c).GetExpirationTime()
	if err != nil || at == nil {
		return time.Time{}
	}
	return at.Time
}

// Verify returns what a token says that is signed by a key, and valid now. The error says why it is refused; clients need not know.
func (v *Verifier) Verify(token string) (Claims, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("it is longer than %d bytes", maxToken)
	}
	claims := jwt.MapClaims{}
	parsed, err := v.parser.ParseWithClaims(token, claims, v.keys.Choose)
	if err != nil {
		return nil, err
	}
	if _, critical := parsed.Header["crit"]; critical {
		return nil, errors.New("crit names extensions, and none is known here")
	}
	return Claims(claims), nil
}
