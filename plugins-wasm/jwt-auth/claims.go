package main

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// claims are those of a token. Numbers are json.Number.
type claims map[string]any

// find returns a claim by its name, or by a JSON pointer (/realm_access/roles).
func (c claims) find(path string) (any, bool) {
	if value, ok := c[path]; ok || !strings.HasPrefix(path, "/") {
		return value, ok
	}
	var at any = map[string]any(c)
	for step := range strings.SplitSeq(path[1:], "/") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]; !ok {
			return nil, false
		}
	}
	return at, true
}

// texts are a claim that is a text or a list of texts.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// rules are what claims must be.
type rules struct {
	leeway    time.Duration
	issuers   []string
	audiences []string
	required  []string
	scopes    []string
	values    map[string][]string
}

func (r *rules) check(c claims, now time.Time) error {
	if err := r.checkTimes(c, now); err != nil {
		return err
	}
	for _, name := range r.required {
		if value, ok := c.find(name); !ok || value == nil {
			return badToken("the token has not all claims that are needed")
		}
	}
	if iss, _ := c["iss"].(string); len(r.issuers) > 0 && !slices.Contains(r.issuers, iss) {
		return badToken("the token is of another issuer")
	}
	if len(r.audiences) > 0 && !common(r.audiences, texts(c["aud"])) {
		return badToken("the token is for another audience")
	}
	return r.checkRights(c)
}

// checkTimes: RFC 7519, 4.1.4 to 4.1.6.
func (r *rules) checkTimes(c claims, now time.Time) error {
	at, leeway := float64(now.UnixMilli())/1000, r.leeway.Seconds()
	for _, name := range []string{"exp", "nbf", "iat"} {
		value, there := c[name]
		if !there {
			continue
		}
		number, ok := value.(json.Number)
		if !ok {
			return badToken("a time of the token is no number")
		}
		t, err := number.Float64()
		switch {
		case err != nil:
			return badToken("a time of the token is no number")
		case name == "exp" && at >= t+leeway:
			return badToken("the token has expired")
		case name != "exp" && at < t-leeway:
			return badToken("the token is not valid yet")
		}
	}
	return nil
}

// checkRights: who the client is is known now, and what is missing is a right.
func (r *rules) checkRights(c claims) error {
	given := slices.Concat(words(c["scope"]), words(c["scp"]))
	for _, scope := range r.scopes {
		if !slices.Contains(given, scope) {
			return &denial{status: 403, code: "insufficient_scope", detail: "the token does not have the scopes that are needed", scope: strings.Join(r.scopes, " ")}
		}
	}
	for name, allowed := range r.values {
		value, _ := c.find(name)
		if !common(allowed, texts(value)) {
			return &denial{status: 403, code: "insufficient_scope", detail: "the claims of the token do not permit this"}
		}
	}
	return nil
}

// words are the scopes of a claim: a text of words, or a list.
func words(value any) []string {
	if s, ok := value.(string); ok {
		return strings.Fields(s)
	}
	return texts(value)
}

func common(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
