package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// The response caches of http.cache, for `edge cache`.
//
//	GET  /cache         what they have done                 []Cache
//	POST /cache/purge   takes a CachePurge as JSON          CachePurged

// Caches is what the API needs of the caches. Errors may be a *KVError; others are the server's fault.
type Caches interface {
	List() []Cache
	Purge(ctx context.Context, p CachePurge) (int, error)
}

// Cache is a response cache.
type Cache struct {
	Name     string            `json:"name"`
	Store    string            `json:"store"`
	Requests map[string]uint64 `json:"requests"` // by what became of them: hit, stale, miss, …
	Stored   uint64            `json:"stored"`
	Skipped  uint64            `json:"skipped"`
	Purged   uint64            `json:"purged"`
	Errors   uint64            `json:"errors"`
	Held     int64             `json:"held"`
	Down     bool              `json:"down"`
}

// CachePurge says what is to be purged, in one cache or, with an empty name, in all.
type CachePurge struct {
	Cache    string   `json:"cache,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	URLs     []string `json:"urls,omitempty"`
	Prefixes []string `json:"prefixes,omitempty"`
	All      bool     `json:"all,omitempty"`
}

// CachePurged counts tags, URLs, and entries under prefixes.
type CachePurged struct {
	Purged int `json:"purged"`
}

// maxCachePurge bounds the body of a purge.
const maxCachePurge = 8 << 20

func cacheRoutes(mux *http.ServeMux, caches Caches) {
	if caches == nil {
		return
	}
	mux.HandleFunc("GET /cache", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, caches.List()) })
	mux.HandleFunc("POST /cache/purge", func(w http.ResponseWriter, r *http.Request) {
		var p CachePurge
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCachePurge))
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil {
			answerError(w, http.StatusBadRequest, fmt.Errorf(`read what to purge: %w; write JSON such as {"tags": ["news"]}`, err))
			return
		}
		n, err := caches.Purge(r.Context(), p)
		if err != nil {
			answerError(w, kvStatus(err), err)
			return
		}
		answer(w, http.StatusOK, CachePurged{n})
	})
}

// Caches asks for the response caches.
func (c *Client) Caches(ctx context.Context) (list []Cache, err error) {
	return list, c.do(ctx, http.MethodGet, "/cache", &list)
}

// CachePurge purges answers.
func (c *Client) CachePurge(ctx context.Context, p CachePurge) (done CachePurged, err error) {
	ctx, cancel := context.WithTimeout(ctx, cachePatience)
	defer cancel()
	body, err := json.Marshal(p)
	if err != nil {
		return done, err
	}
	return done, c.ask(ctx, http.MethodPost, "/cache/purge", bytes.NewReader(body), &done)
}

// cachePatience is how long a purge may take: prefixes are looked for among all keys.
const cachePatience = time.Minute
