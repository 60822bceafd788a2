package main

import (
	"io"
	"slices"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
)

const (
	maxKeySet = 512 << 10
	maxKeys   = 100
)

// keySet is a JSON Web Key Set elsewhere. Each instance of the plugin has one: it is fetched when the first token comes, again
// when it is old, and when a token names a key that is not in it, but not more often than every cooldown.
type keySet struct {
	url        string // "" is none
	algorithms []string
	refresh    time.Duration
	cooldown   time.Duration
	timeout    time.Duration
	maxStale   time.Duration

	keys    []*key
	fetched time.Time // the last time that it worked
	tried   time.Time
}

// keepFresh fetches what is old. Old keys serve on while new ones cannot be had, up to maxStale.
func (k *keySet) keepFresh(s *settings, now time.Time) error {
	if k.url == "" || now.Sub(k.fetched) < k.refresh {
		return nil
	}
	k.fetch(s, now)
	if now.Sub(k.fetched) < max(k.maxStale, k.refresh) {
		return nil
	}
	if k.keys != nil { // too old to be trusted, and so is what they have verified
		k.keys, s.known = nil, cache{}
	}
	if len(s.keys) > 0 {
		return nil
	}
	return errNoKeys
}

// lookFor fetches the keys because of a token that names one which is not there, and reports whether it did.
func (k *keySet) lookFor(s *settings, t *token, now time.Time) (bool, error) {
	if k.url == "" || t.kid == "" || !slices.Contains(k.algorithms, t.alg) {
		return false, nil
	}
	if slices.ContainsFunc(k.keys, func(known *key) bool { return known.kid == t.kid }) {
		return false, nil
	}
	if !k.fetch(s, now) {
		if k.keys == nil && len(s.keys) == 0 {
			return false, errNoKeys
		}
		return false, nil
	}
	return true, nil
}

// fetch asks for the key set, unless that was a moment ago.
func (k *keySet) fetch(s *settings, now time.Time) bool {
	if !k.tried.IsZero() && now.Sub(k.tried) < k.cooldown {
		return false
	}
	k.tried = now
	text, err := k.download()
	var keys []*key
	if err == "" {
		keys, err = k.read(text)
	}
	if err != "" {
		edge.Warn("the key set " + k.url + " cannot be had, old keys serve on: " + err)
		return false
	}
	k.keys, k.fetched = keys, now
	s.known = cache{} // a key that is withdrawn takes its tokens with it
	return true
}

// download returns the body, or what went wrong.
func (k *keySet) download() ([]byte, string) {
	call := edge.Call{URL: k.url, Header: []string{"Accept: application/jwk-set+json, application/json"}, Timeout: k.timeout}
	answer, err := call.Do()
	if err != nil {
		return nil, err.Error() + ": " + edge.LastError()
	}
	defer answer.Close()
	if answer.Status != 200 {
		return nil, "it answers with a status that is not 200"
	}
	text, err := io.ReadAll(io.LimitReader(answer, maxKeySet+1))
	switch {
	case err != nil:
		return nil, err.Error()
	case len(text) > maxKeySet:
		return nil, "it is larger than 512 KiB"
	}
	return text, ""
}

// read takes what of a key set can verify: RFC 7517, 5 says to leave out what is not understood. Secrets are left out too: what
// everybody can download is none.
func (k *keySet) read(text []byte) ([]*key, string) {
	set, err := object(text)
	if err != nil {
		return nil, "it is not the JSON that it should be: " + err.Error()
	}
	list, ok := set["keys"].([]any)
	if !ok || len(list) > maxKeys {
		return nil, "it has no list \"keys\" of at most 100"
	}
	keys := []*key{}
	for _, entry := range list {
		members, ok := entry.(map[string]any)
		if !ok {
			return nil, "a key is no object"
		}
		if one := k.readOne(members); one != nil {
			keys = append(keys, one)
		}
	}
	if len(keys) == 0 { // which is an answer, too: all keys are withdrawn
		edge.Warn("the key set " + k.url + " has no key of use for the configured algorithms: no token is good by it")
	}
	return keys, ""
}

func (k *keySet) readOne(members map[string]any) *key {
	j, err := readJWK(members)
	if err != nil || j.kty == "oct" {
		return nil
	}
	one, err := j.key()
	if err != nil {
		return nil
	}
	wanted := k.algorithms
	if j.alg != "" {
		if !slices.Contains(wanted, j.alg) {
			return nil
		}
		wanted = []string{j.alg}
	}
	if one.restrict(wanted) != nil {
		return nil
	}
	return one
}
