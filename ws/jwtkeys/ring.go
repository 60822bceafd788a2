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
	fixed     []Key
	published *published // nil without jwks_url
}

// published is what is at jwks_url. Rings that come one after the other share it.
type published struct {
	url        string
	algorithms []string // of the configuration
	client     *http.Client

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
	r := &Ring{fixed: fixed}
	if k.JWKSURL != "" {
		client := &http.Client{Timeout: fetchTime, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
		r.published = &published{url: k.JWKSURL, algorithms: k.Algorithms, client: client}
	}
	return r, nil
}

// Follow makes r, which nothing has used, the successor of a ring: what that has fetched stays, if it is from the same URL. before may be nil.
func (r *Ring) Follow(before *Ring) {
	if before == nil || r.published == nil || before.published == nil {
		return
	}
	if before.published.url == r.published.url && slices.Equal(before.published.algorithms, r.published.algorithms) {
		r.published = before.published
	}
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
	if r.published != nil {
		for _, name := range publicAlgorithms {
			if r.published.allows(name) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Choose finds the keys that a token may have been signed with.
func (r *Ring) Choose(t *jwt.Token) (any, error) {
	if r.published == nil {
		return Choose(r.fixed, t)
	}
	kid, _ := t.Header["kid"].(string)
	keys, failure := r.published.keys(r.fixed, func(keys []Key) bool {
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

// allows reports whether a key of the set may be used with an algorithm.
func (p *published) allows(algorithm string) bool {
	return slices.Contains(publicAlgorithms, algorithm) && (len(p.algorithms) == 0 || slices.Contains(p.algorithms, algorithm))
}

// keys returns what there is, and fetches before if that does not suffice, or is old. Only who needs new ones waits for them.
func (p *published) keys(fixed []Key, suffice func([]Key) bool) ([]Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	enough, now := suffice(slices.Concat(fixed, p.fetched)), time.Now()
	switch {
	case enough && now.Sub(p.at) < keysAge:
	case p.fetching != nil && !enough:
		done := p.fetching
		p.mu.Unlock()
		<-done // in fetchTime at most
		p.mu.Lock()
	case p.fetching == nil && now.Sub(p.tried) > fetchPause:
		p.fetch(now)
	}
	return slices.Concat(fixed, p.fetched), p.failure
}

// fetch is called with p.mu, which it gives up meanwhile.
func (p *published) fetch(now time.Time) {
	done := make(chan struct{})
	p.tried, p.fetching = now, done
	p.mu.Unlock()
	keys, err := p.download()
	p.mu.Lock()
	p.fetching = nil
	close(done)
	if err != nil {
		p.failure = fmt.Errorf("jwks_url: %s: %w", p.url, err)
		return
	}
	p.fetched, p.at, p.failure = keys, now, nil
}

func (p *published) download() ([]Key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := p.client.Do(req)
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
	return p.read(data)
}

// read reads a set from elsewhere: what cannot be used is left out, since others decide what is in it.
func (p *published) read(data []byte) ([]Key, error) {
	all, err := parseKeys(data, false)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, k := range all {
		k.Algorithms = slices.DeleteFunc(slices.Clone(k.Algorithms), func(name string) bool {
			return !p.allows(name)
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
