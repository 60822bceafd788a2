package jwtkeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Ring has the keys of a section: those of the configuration, and those that are at jwks_url. The latter are fetched when the first token
// comes, again when they are old, and when a token names a key that is not among them.
type Ring struct {
	cfg    Config
	fixed  []Key
	client *http.Client

	mu       sync.Mutex // guards what follows
	fetched  []Key
	at       time.Time // of the last success
	tried    time.Time
	failure  error
	fetching chan struct{} // closed when the fetch that is under way is over; nil: there is none
}

const (
	// fetchTime bounds one fetch, and with it how long a client may wait for keys.
	fetchTime = 5 * time.Second

	// fetchPause is the least time between two fetches: tokens may name any key.
	fetchPause = 10 * time.Second

	// keysAge is how old keys may get before they are fetched again. When that fails the old ones stay.
	keysAge = 15 * time.Minute

	maxKeySet = 1 << 20
)

// publicAlgorithms are those of keys that may be published. A set at a URL has no secrets.
var publicAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Open reads the keys of a section. Those of a URL come later.
func (k *Config) Open() (*Ring, error) {
	fixed, err := k.Load()
	if err != nil {
		return nil, err
	}
	r := &Ring{cfg: *k, fixed: fixed}
	if k.JWKSURL != "" {
		r.client = &http.Client{Timeout: fetchTime, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	}
	return r, nil
}

// validURL says what is wrong with jwks_url.
func (k *Config) validURL() error {
	if k.JWKSURL == "" {
		return nil
	}
	u, err := url.Parse(k.JWKSURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return errors.New("jwks_url: must be a URL such as https://id.example.com/.well-known/jwks.json, without a password")
	}
	return nil
}

// Algorithms are those that tokens may have.
func (r *Ring) Algorithms() []string {
	var list []string
	for _, k := range r.fixed {
		list = append(list, k.Algorithms...)
	}
	if r.client != nil {
		for _, name := range publicAlgorithms {
			if len(r.cfg.Algorithms) == 0 || slices.Contains(r.cfg.Algorithms, name) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Choose finds the keys that a token may have been signed with.
func (r *Ring) Choose(t *jwt.Token) (any, error) {
	if r.client == nil {
		return Choose(r.fixed, t)
	}
	kid, _ := t.Header["kid"].(string)
	keys, failure := r.keys(func(keys []Key) bool {
		if kid != "" {
			return slices.ContainsFunc(keys, func(k Key) bool { return k.ID == kid })
		}
		_, err := Choose(keys, t)
		return err == nil
	})
	found, err := Choose(keys, t)
	if err != nil && failure != nil {
		err = fmt.Errorf("%w (%w)", err, failure)
	}
	return found, err
}

// keys returns what there is, and fetches before if that does not suffice, or is old. Only who needs new ones waits for them.
func (r *Ring) keys(suffice func([]Key) bool) ([]Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	enough, now := suffice(slices.Concat(r.fixed, r.fetched)), time.Now()
	switch {
	case enough && now.Sub(r.at) < keysAge:
	case r.fetching != nil && !enough:
		done := r.fetching
		r.mu.Unlock()
		<-done // in fetchTime at most
		r.mu.Lock()
	case r.fetching == nil && now.Sub(r.tried) > fetchPause:
		r.fetch(now)
	}
	return slices.Concat(r.fixed, r.fetched), r.failure
}

// fetch is called with r.mu, which it gives up meanwhile.
func (r *Ring) fetch(now time.Time) {
	done := make(chan struct{})
	r.tried, r.fetching = now, done
	r.mu.Unlock()
	keys, err := r.download()
	r.mu.Lock()
	r.fetching = nil
	close(done)
	if err != nil {
		r.failure = fmt.Errorf("jwks_url: %s: %w", r.cfg.JWKSURL, err)
		return
	}
	r.fetched, r.at, r.failure = keys, now, nil
}

func (r *Ring) download() ([]Key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.JWKSURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxKeySet:
		return nil, fmt.Errorf("the key set is larger than %d bytes", maxKeySet)
	}
	return r.published(data)
}

// published reads a set from elsewhere: what cannot be used is left out, since others decide what is in it.
func (r *Ring) published(data []byte) ([]Key, error) {
	all, err := parseKeys(data, false)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, k := range all {
		k.Algorithms = slices.DeleteFunc(slices.Clone(k.Algorithms), func(name string) bool {
			return !slices.Contains(publicAlgorithms, name) || len(r.cfg.Algorithms) > 0 && !slices.Contains(r.cfg.Algorithms, name)
		})
		if len(k.Algorithms) > 0 {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no public key that can be used here")
	}
	return keys, nil
}
