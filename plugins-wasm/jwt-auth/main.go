// Jwt-auth lets requests in that bring a signed JSON Web Token (RFC 7519). README.md has the configuration.
//
// A request goes this way: find the token (request.go), take it apart and verify it (token.go) with a key (key.go) of the
// configuration (config.go) or of a key set elsewhere (jwks.go), check its claims (claims.go), tell the rest of the chain who it is.
package main

import (
	"errors"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
)

// guard is the configuration, ready for use. An instance has one, made by checkConfig before its first request.
var guard *settings

func init() {
	edge.CheckConfig(checkConfig)
	edge.Handle(func(r *edge.Request) edge.Result { return guard.handle(r) })
}

func main() {}

func checkConfig(text []byte) (err error) {
	if guard, err = parseConfig(text); err == nil {
		guard.warmUp()
	}
	return err
}

// A denial is why a request is refused: what RFC 6750 says about it.
type denial struct {
	status int
	code   string // of RFC 6750, "" when there was no token at all
	detail string // for people; goes to the client, so it says nothing that a client should not know
	scope  string
}

func (d *denial) Error() string { return d.detail }

func badToken(detail string) error {
	return &denial{status: 401, code: "invalid_token", detail: detail}
}

// errNoKeys: the key set cannot be had. That is no fault of the token.
var errNoKeys = errors.New("the keys to check tokens with cannot be had at the moment")

func (s *settings) handle(r *edge.Request) edge.Result {
	s.removeForged(r.Header())
	token, err := s.findToken(r)
	if err != nil {
		return s.refuse(r, err)
	}
	if token == "" {
		if s.optional {
			return edge.Next
		}
		return s.refuse(r, &denial{status: 401, detail: "a token is needed"})
	}
	claims, err := s.admit(token, edge.Now())
	if err != nil {
		return s.refuse(r, err)
	}
	if err := s.tell(r, claims); err != nil {
		return s.refuse(r, err)
	}
	return edge.Next
}

// admit returns the claims of a token that is good now.
func (s *settings) admit(token string, now time.Time) (claims, error) {
	c, err := s.verified(token, now)
	if err != nil {
		return nil, err
	}
	return c, s.rules.check(c, now)
}

// refuse answers with what RFC 6750 says.
func (s *settings) refuse(r *edge.Request, err error) edge.Result {
	header := r.Response().Header()
	header.Set("Cache-Control", "no-store")
	d, ok := err.(*denial)
	if !ok { // the key set
		header.Set("Retry-After", "5")
		return r.Respond(503, "text/plain", err.Error()+"\n")
	}
	challenge := `Bearer realm="` + s.realm + `"`
	if d.code != "" {
		challenge += `, error="` + d.code + `", error_description="` + d.detail + `"`
	}
	if d.scope != "" {
		challenge += `, scope="` + d.scope + `"`
	}
	header.Set("WWW-Authenticate", challenge)
	return r.Respond(d.status, "text/plain", d.detail+"\n")
}
