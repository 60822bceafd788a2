package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

const (
	maxToken = 16 << 10 // bytes of a token
	maxTries = 8        // keys that one token is tried with
	maxDepth = 32       // of claims
)

// token is a compact JWS (RFC 7515, 7.1), not verified yet.
type token struct {
	alg, kid, typ string
	signed        []byte // what the signature is of
	payload       []byte
	signature     []byte
}

var base64url = base64.RawURLEncoding.Strict()

// parseToken takes a token apart. Nothing of it is to be believed yet.
func parseToken(text string) (*token, error) {
	if len(text) > maxToken {
		return nil, badToken("the token is too large")
	}
	signed := strings.LastIndexByte(text, '.')
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, badToken("the token is malformed")
	}
	t := &token{signed: []byte(text[:signed])}
	var head []byte
	for i, to := range []*[]byte{&head, &t.payload, &t.signature} {
		var err error
		if strings.ContainsAny(parts[i], "\r\n") { // the decoder skips them
			return nil, badToken("the token is malformed")
		}
		if *to, err = base64url.DecodeString(parts[i]); err != nil {
			return nil, badToken("the token is malformed")
		}
	}
	header, err := object(head)
	if err != nil {
		return nil, badToken("the token is malformed")
	}
	// RFC 7515, 4.1.11: what is critical and not understood refuses the token, and nothing is understood here.
	if _, critical := header["crit"]; critical {
		return nil, badToken("the token has a critical extension")
	}
	var ok bool
	if t.alg, ok = header["alg"].(string); !ok {
		return nil, badToken("the token is malformed")
	}
	for name, to := range map[string]*string{"kid": &t.kid, "typ": &t.typ} {
		if value, there := header[name]; there {
			if *to, ok = value.(string); !ok {
				return nil, badToken("the token is malformed")
			}
		}
	}
	return t, nil
}

// object reads a JSON object: one value, no name twice (RFC 7515, 4), nothing behind it.
func object(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := decode(d, maxDepth)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something behind the value")
	}
	o, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("no object")
	}
	return o, nil
}

var errJSON = errors.New("a name twice, or too deep")

func decode(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == 0 {
		return nil, errJSON
	}
	if open == '[' {
		list := []any{}
		for d.More() {
			item, err := decode(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err = d.Token()
		return list, err
	}
	members := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := name.(string)
		if _, twice := members[key]; twice || !ok {
			return nil, errJSON
		}
		if members[key], err = decode(d, depth-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return members, err
}

// verified returns the claims of a token that one of the keys has signed. Their contents are not checked.
func (s *settings) verified(text string, now time.Time) (claims, error) {
	// The hash is what is looked up: how long that takes says nothing about a token that is known.
	hash := sha256.Sum256([]byte(text))
	if err := s.jwks.keepFresh(s, now); err != nil {
		return nil, err
	}
	if c, ok := s.known.get(hash); ok {
		return c, nil
	}
	t, err := parseToken(text)
	if err != nil {
		return nil, err
	}
	if s.typ != "" && !sameType(t.typ, s.typ) {
		return nil, badToken("the token is of another type")
	}
	if !s.signedByKnown(t) {
		// A key of tomorrow may have signed it, if it names one that we have never seen.
		fetched, err := s.jwks.lookFor(s, t, now)
		if err != nil {
			return nil, err
		}
		if !fetched || !s.signedByKnown(t) {
			return nil, badToken("the signature of the token is not valid")
		}
	}
	c, err := object(t.payload)
	if err != nil {
		return nil, badToken("the claims of the token are malformed")
	}
	s.known.put(hash, c, len(text))
	return c, nil
}

func (s *settings) signedByKnown(t *token) bool {
	tries := 0
	for _, list := range [][]*key{s.keys, s.jwks.keys} {
		for _, k := range list {
			if !k.mayVerify(t) {
				continue
			}
			if tries++; tries > maxTries {
				return false
			}
			if k.verify(t) {
				return true
			}
		}
	}
	return false
}

// sameType compares media types as RFC 7515, 4.1.9 says: "application/" may be left out.
func sameType(a, b string) bool {
	short := func(s string) string { return strings.TrimPrefix(strings.ToLower(s), "application/") }
	return short(a) == short(b)
}

// A cache has the claims of tokens whose signature was verified, since that takes a guest a millisecond. Whether the claims are
// good is checked each time.
type cache struct {
	claims map[[sha256.Size]byte]claims
	size   int
}

const (
	maxKnown     = 512
	maxKnownSize = 1 << 20
)

func (c *cache) get(hash [sha256.Size]byte) (claims, bool) {
	found, ok := c.claims[hash]
	return found, ok
}

func (c *cache) put(hash [sha256.Size]byte, found claims, size int) {
	if len(c.claims) >= maxKnown || c.size+size > maxKnownSize || c.claims == nil {
		*c = cache{claims: map[[sha256.Size]byte]claims{}}
	}
	c.claims[hash] = found
	c.size += size
}
