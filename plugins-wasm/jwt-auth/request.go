package main

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/edge-server/edge/sdk/go/edge"
)

// findToken returns the token of a request, "" without one. RFC 6750: more than one is a bad request.
func (s *settings) findToken(r *edge.Request) (string, error) {
	var found []string
	if s.header != "" {
		for _, value := range r.Header().Values(s.header) {
			if s.header != "authorization" {
				found = append(found, value)
				continue
			}
			// Other schemes are not ours; those who know them may be behind us, but here they are no token.
			if isBearer(value) {
				_, token, _ := strings.Cut(value, " ")
				found = append(found, strings.TrimLeft(token, " "))
			}
		}
	}
	if s.cookie != "" {
		found = append(found, cookies(r.Header().Values("cookie"), s.cookie)...)
	}
	if s.query != "" {
		found = append(found, parameters(r.URI(), s.query)...)
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		if found[0] == "" {
			return "", badToken("the token is empty")
		}
		return found[0], nil
	}
	return "", &denial{status: 400, code: "invalid_request", detail: "the request has more than one token"}
}

// cookies are the values of a cookie.
func cookies(lines []string, name string) (values []string) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && key == name {
				values = append(values, strings.Trim(value, `"`))
			}
		}
	}
	return values
}

// parameters are the values of a parameter of a query.
func parameters(uri, name string) (values []string) {
	_, query, _ := strings.Cut(uri, "?")
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != name {
			continue
		}
		if value, err := url.QueryUnescape(value); err == nil {
			values = append(values, value)
		} else {
			values = append(values, "")
		}
	}
	return values
}

// removeForged takes away what only this plugin may say, under any name that CGI and PHP take for the same: X-User and X_User.
func (s *settings) removeForged(header edge.Header) {
	if len(s.forward) == 0 {
		return
	}
	for _, name := range header.Names() {
		if _, ours := s.forward[strings.ReplaceAll(name, "_", "-")]; ours {
			header.Del(name)
		}
	}
}

// tell hands claims on: as headers and as variables of the request.
func (s *settings) tell(r *edge.Request, c claims) error {
	for name, claim := range s.forward {
		value, ok := c.text(claim)
		if !ok {
			continue
		}
		if !headerValue(value) {
			return badToken("a claim cannot be the value of a header")
		}
		r.Header().Set(name, value)
	}
	for name, claim := range s.variables {
		if value, ok := c.text(claim); ok {
			if err := edge.SetVar(name, value); err != nil {
				return badToken("a claim cannot be the value of a variable")
			}
		}
	}
	if s.removeToken {
		s.takeAway(r)
	}
	return nil
}

// takeAway removes the token from the header or the cookie, so that applications, and their logs, do not see it.
func (s *settings) takeAway(r *edge.Request) {
	if s.header == "authorization" {
		others := slices.DeleteFunc(r.Header().Values(s.header), isBearer) // such as Basic, for who is behind us
		r.Header().Del(s.header)
		for _, value := range others {
			r.Header().Add(s.header, value)
		}
	} else if s.header != "" {
		r.Header().Del(s.header)
	}
	if s.cookie == "" {
		return
	}
	var kept []string
	for _, line := range r.Header().Values("cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			if key, _, _ := strings.Cut(pair, "="); key != s.cookie && pair != "" {
				kept = append(kept, pair)
			}
		}
	}
	r.Header().Del("cookie")
	if len(kept) > 0 {
		r.Header().Set("cookie", strings.Join(kept, "; "))
	}
}

func isBearer(value string) bool {
	scheme, _, _ := strings.Cut(value, " ")
	return strings.EqualFold(scheme, "bearer")
}

func headerValue(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return len(s) <= 8192
}

// text is a claim as a header says it: a text as it is, anything else as JSON.
func (c claims) text(path string) (string, bool) {
	value, ok := c.find(path)
	if !ok || value == nil {
		return "", false
	}
	if s, ok := value.(string); ok {
		return s, true
	}
	text, err := json.Marshal(value)
	return string(text), err == nil
}
