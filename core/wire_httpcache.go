package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/httpcache"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

// cachePrefix is what stands before the name of a cache in lists of middleware.
const cachePrefix = "cache/"

func (c *Config) validateCaches() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.HTTP.Cache)) {
		key, cache := "http.cache."+name, c.HTTP.Cache[name]
		if !httpcache.ValidName(name) {
			errs = append(errs, fmt.Errorf("%s: %q cannot be the name of a cache: write letters, digits, -, _ and dots", key, name))
		}
		errs = append(errs, within(key, cache.Validate()))
		store, known := c.KV[cache.Store]
		switch {
		case cache.Store == "":
		case !known:
			errs = append(errs, fmt.Errorf("%s.store: there is no store %q in the kv section, which has %s",
				key, cache.Store, countNames(slices.Sorted(maps.Keys(c.KV)))))
		case cache.MaxEntry > store.Limits.MaxValue:
			errs = append(errs, fmt.Errorf("%s.max_entry: %s is more than limits.max_value of the store %q, which is %s",
				key, cache.MaxEntry, cache.Store, store.Limits.MaxValue))
		}
	}
	for i, name := range c.HTTP.Middleware {
		if strings.HasPrefix(name, cachePrefix) {
			errs = append(errs, fmt.Errorf("http.middleware[%d]: %s belongs into use of the routes it is for: before a route is chosen nobody knows whose answer it is", i, name))
		}
	}
	return errors.Join(errs...)
}

// unknownCache returns why name cannot be used, or "", if it is that of a cache.
func (h *HTTPConfig) unknownCache(name string) (problem string, isCache bool) {
	cache, isCache := strings.CutPrefix(name, cachePrefix)
	if _, known := h.Cache[cache]; isCache && !known {
		return fmt.Sprintf("there is no cache %q in http.cache, which has %s", cache, countNames(slices.Sorted(maps.Keys(h.Cache)))), true
	}
	return "", isCache
}

// newCaches makes the caches of cfg; those that have not changed since old go on.
func (e *Edge) newCaches(cfg *Config, old *world) (map[string]*httpcache.Cache, error) {
	caches := map[string]*httpcache.Cache{}
	if cfg.HTTP == nil {
		return caches, nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.HTTP.Cache)) {
		c := cfg.HTTP.Cache[name]
		if cache, there := old.caches[name]; there && reflect.DeepEqual(old.cfg.HTTP.Cache[name], c) {
			caches[name] = cache
			continue
		}
		cache, err := e.newCache(name, c)
		if err != nil {
			errs = append(errs, within("http.cache."+name, err))
			continue
		}
		caches[name] = cache
	}
	return caches, errors.Join(errs...)
}

func (e *Edge) newCache(name string, c httpcache.Config) (*httpcache.Cache, error) {
	store, ok := kv.As[*kv.Front](e.stores[c.Store])
	if !ok {
		return nil, fmt.Errorf("store: %q is not open", c.Store)
	}
	if !store.Can().Has(httpcache.Needs) {
		return nil, fmt.Errorf("store: %q (driver %s) cannot be a cache: it must be able to %s; memory, boltdb, redis and memcached are",
			c.Store, store.Stats().Driver, httpcache.Needs)
	}
	return httpcache.New(c, httpcache.Options{Name: name, Store: store, Logger: e.channel("http")})
}

// cacheOf is the middleware that a route calls cache/NAME; nil for other names. What the route says tells it apart from others that
// take requests for the same URL, by a header, say, so that answers never stray from one to another.
func (w *world) cacheOf(name string, route *Route) func(http.Handler) http.Handler {
	cache, isCache := w.caches[strings.TrimPrefix(name, cachePrefix)]
	if !isCache || route == nil || !strings.HasPrefix(name, cachePrefix) {
		return nil
	}
	text, err := json.Marshal(publicValue(reflect.ValueOf(*route), ""))
	if err != nil {
		text = []byte(route.key())
	}
	sum := sha256.Sum256(text)
	return cache.Middleware(httpcache.Route{Scope: hex.EncodeToString(sum[:6]), Hold: func() func() {
		w.inFlight.Add(1)
		return func() { w.inFlight.Add(-1) }
	}})
}

// cachesWithout returns the caches that other has not.
func (w *world) cachesWithout(other *world) map[string]*httpcache.Cache {
	own := map[string]*httpcache.Cache{}
	for name, cache := range w.caches {
		if cache != other.caches[name] {
			own[name] = cache
		}
	}
	return own
}

func (w *world) stopCaches(ctx context.Context) error {
	var errs []error
	for _, cache := range w.caches {
		errs = append(errs, cache.Stop(ctx))
	}
	return errors.Join(errs...)
}

func (w *world) cacheStats() []httpcache.Stats {
	var list []httpcache.Stats
	for _, name := range slices.Sorted(maps.Keys(w.caches)) {
		list = append(list, w.caches[name].Stats())
	}
	return list
}

// purgeRequest is what httpcache.Purge takes. An empty cache is all of them.
type purgeRequest struct {
	Cache    string   `json:"cache"`
	Tags     []string `json:"tags"`
	URLs     []string `json:"urls"`
	Prefixes []string `json:"prefixes"`
	All      bool     `json:"all"`
}

// purgeResponse counts tags, URLs, and entries under prefixes; of several caches together.
type purgeResponse struct {
	Purged int `json:"purged"`
}

// cacheService is the service httpcache.
func (e *Edge) cacheService() rpc.Methods {
	return rpc.Methods{"Purge": rpc.Func(func(ctx context.Context, r purgeRequest) (*purgeResponse, error) {
		n, err := e.purge(ctx, r)
		if err != nil {
			return nil, err
		}
		return &purgeResponse{n}, nil
	})}
}

// errNoCache means that there is no such cache.
var errNoCache = errors.New("no such cache")

func (e *Edge) purge(ctx context.Context, r purgeRequest) (n int, err error) {
	caches := e.world.Load().caches
	if r.Cache != "" {
		one, there := caches[r.Cache]
		if !there {
			return 0, fmt.Errorf("%w: there is no cache %q in http.cache, which has %s", errNoCache, r.Cache, countNames(slices.Sorted(maps.Keys(caches))))
		}
		caches = map[string]*httpcache.Cache{r.Cache: one}
	}
	if len(caches) == 0 {
		return 0, fmt.Errorf("%w: http.cache of edge.yaml has none", errNoCache)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(caches)) {
		purged, err := caches[name].Purge(ctx, httpcache.Purge{Tags: r.Tags, URLs: r.URLs, Prefixes: r.Prefixes, All: r.All})
		n += purged
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// adminCaches is what `edge cache` asks for.
type adminCaches struct{ edge *Edge }

var _ admin.Caches = adminCaches{}

// List implements admin.Caches.
func (a adminCaches) List() []admin.Cache {
	list := []admin.Cache{}
	for _, s := range a.edge.world.Load().cacheStats() {
		list = append(list, admin.Cache{Name: s.Name, Store: s.Store, Requests: s.Results, Stored: s.Stored, Skipped: s.Skipped,
			Purged: s.Purged, Errors: s.Errors, Held: s.Held, Down: s.Down})
	}
	return list
}

// Purge implements admin.Caches.
func (a adminCaches) Purge(ctx context.Context, p admin.CachePurge) (int, error) {
	n, err := a.edge.purge(ctx, purgeRequest(p))
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, errNoCache), errors.Is(err, httpcache.ErrPurge):
		return n, &admin.KVError{Status: http.StatusBadRequest, Err: err}
	}
	return n, &admin.KVError{Status: http.StatusServiceUnavailable, Err: err}
}
