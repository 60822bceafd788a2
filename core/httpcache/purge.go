package httpcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/edge-server/edge/kv"
)

// Purge says what is to be purged.
type Purge struct {
	Tags     []string // of Cache-Tag and Surrogate-Key
	URLs     []string // whole ones, with the query
	Prefixes []string // of URLs, with the host: https://example.com/blog/
	All      bool
}

const (
	// maxPurge is how many tags, URLs and prefixes one purge has at most.
	maxPurge = 10_000
	// purgeTimeout is how long it may take.
	purgeTimeout = 30 * time.Second
)

// ErrPurge is wrapped by errors that are the caller's mistake.
var ErrPurge = errors.New("cannot purge")

// Purge removes answers from the store, for all servers that share it. Of tags, URLs and everything the work does not grow with what is
// stored; prefixes are looked for among all keys. It returns how many tags, URLs and entries under prefixes it was about.
func (c *Cache) Purge(ctx context.Context, p Purge) (n int, err error) {
	places, prefixes, marks, err := c.read(p)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	if err := c.note(ctx, marks, p.All); err != nil {
		return 0, c.failed(err)
	}
	for rest := p.Tags; len(rest) > 0; {
		part := rest[:min(len(rest), maxTags)]
		rest = rest[len(part):]
		if err := c.guard.store.InvalidateTags(ctx, c.tagNames(part)); err != nil {
			return n, c.failed(err)
		}
		n += len(part)
	}
	if len(places) > 0 {
		if err := c.guard.store.Delete(ctx, c.keysOf(places)); err != nil {
			return n, c.failed(err)
		}
		n += len(places)
	}
	for _, prefix := range prefixes {
		removed, err := c.purgePrefix(ctx, prefix)
		if n += removed; err != nil {
			return n, c.failed(err)
		}
	}
	if p.All {
		n++
	}
	c.stats.purged.Add(uint64(n))
	return n, nil
}

func (c *Cache) failed(err error) error {
	return fmt.Errorf("purge the cache %s in its store %s: %w", c.name, c.cfg.Store, err)
}

// read checks a purge.
func (c *Cache) read(p Purge) (places, prefixes []place, marks []uint64, err error) {
	switch n := len(p.Tags) + len(p.URLs) + len(p.Prefixes); {
	case n == 0 && !p.All:
		return nil, nil, nil, fmt.Errorf("%w: say what: tags, URLs, prefixes or everything", ErrPurge)
	case n > maxPurge:
		return nil, nil, nil, fmt.Errorf("%w: %d things at once, at most %d", ErrPurge, n, maxPurge)
	}
	for _, tag := range p.Tags {
		if tag == "" || len(tag) > maxTag || strings.ContainsAny(tag, ",\r\n") {
			return nil, nil, nil, fmt.Errorf("%w: %.40q is no tag: it has 1 to %d bytes and no comma", ErrPurge, tag, maxTag)
		}
		marks = append(marks, mark(markTag, tag))
	}
	for _, text := range p.URLs {
		u, err := parseURL(text)
		if err != nil {
			return nil, nil, nil, err
		}
		at := c.placeOf(u)
		places, marks = append(places, at), append(marks, mark(markURL, at.text()))
	}
	for _, text := range p.Prefixes {
		u, err := parseURL(text)
		if err != nil {
			return nil, nil, nil, err
		}
		at := c.placeOf(u)
		prefixes, marks = append(prefixes, at), append(marks, mark(markHost, at.host))
	}
	return places, prefixes, marks, nil
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: %.200q is no URL with a host, such as https://example.com/page", ErrPurge, text)
	}
	return u, nil
}

// keysOf are the keys under which answers of a URL may be: of every route, over TLS or not.
func (c *Cache) keysOf(places []place) []kv.Item {
	var items []kv.Item
	for _, scope := range c.allScopes() {
		for _, scheme := range [...]string{"https", "http"} {
			for _, at := range places {
				items = append(items, kv.Item{Key: c.key(scope, scheme, at.host, at.path, at.query)})
			}
		}
	}
	return items
}

// purgePrefix looks for keys. What is too long to stand in a key as a whole goes too if its beginning fits.
func (c *Cache) purgePrefix(ctx context.Context, at place) (removed int, err error) {
	if !c.guard.store.Can().Has(kv.CanScan) {
		return 0, fmt.Errorf("%w: the store cannot look for keys (driver %s): purge by tag, by URL or everything", ErrPurge, c.guard.store.Stats().Driver)
	}
	for _, scope := range c.allScopes() {
		for _, scheme := range [...]string{"https", "http"} {
			prefix := c.prefix + scope + "/" + scheme + "://" + at.text()
			for _, p := range [...]string{prefix, prefix[:min(len(prefix), keyHead)] + "#"} {
				if len(prefix) <= keyHead && p != prefix {
					continue
				}
				n, err := c.purgeKeys(ctx, p)
				if removed += n; err != nil {
					return removed, err
				}
			}
		}
	}
	return removed, nil
}

func (c *Cache) purgeKeys(ctx context.Context, prefix string) (removed int, err error) {
	for cursor := ""; ; {
		keys, next, err := c.guard.store.Scan(ctx, prefix, cursor, 1000)
		if err != nil {
			return removed, err
		}
		items := make([]kv.Item, len(keys))
		for i, key := range keys {
			items[i].Key = key
		}
		if len(items) > 0 {
			if err := c.guard.store.Delete(ctx, items); err != nil {
				return removed, err
			}
		}
		removed += len(items)
		if cursor = next; cursor == "" {
			return removed, nil
		}
	}
}

// tagNames are the tags as the store knows them: those of other caches, and of the application, are others.
func (c *Cache) tagNames(tags []string) []string {
	names := make([]string, len(tags))
	for i, tag := range tags {
		names[i] = c.prefix + "tag/" + tag
	}
	return names
}

// serveMethod passes on what is neither GET nor HEAD. A method that may change something makes what is stored of the URL void, if the
// target does not refuse it (RFC 9111, section 4.4).
func (c *Cache) serveMethod(w http.ResponseWriter, r *http.Request, next http.Handler) {
	switch {
	case r.Method == "PURGE" && len(c.purgers) > 0:
		c.servePurge(w, r)
	case r.Method == http.MethodOptions || r.Method == http.MethodTrace || r.Method == http.MethodConnect:
		c.watch(w, r, next, false)
	default:
		c.watch(w, r, next, true)
	}
}

// watch lets the target answer for itself. What is stored of the URL is void afterwards, if the request changes something.
func (c *Cache) watch(w http.ResponseWriter, r *http.Request, next http.Handler, changes bool) {
	if !changes && c.cfg.KeepTags {
		next.ServeHTTP(w, r)
		return
	}
	watch := &watcher{ResponseWriter: w, c: c, r: r, changes: changes}
	next.ServeHTTP(watch, r)
	if !watch.seen {
		watch.look(http.StatusOK) // with which the server answers
	}
}

// servePurge is the method PURGE, which no RFC has and every cache.
func (c *Cache) servePurge(w http.ResponseWriter, r *http.Request) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	allowed := false
	for _, network := range c.purgers {
		allowed = allowed || err == nil && network.Contains(at.Addr().Unmap().WithZone(""))
	}
	if !allowed {
		http.Error(w, "403 forbidden: purge_from of the cache does not have this address", http.StatusForbidden)
		return
	}
	if err := c.purgePlaces([]place{c.placeOfRequest(r)}); err != nil {
		http.Error(w, "503 service unavailable: the store of the cache does not answer; nothing is certain to be purged", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *Cache) placeOfRequest(r *http.Request) place {
	return place{hostOf(schemeOf(r), r.Host), r.URL.EscapedPath(), c.query(r.URL.RawQuery)}
}

// purgePlaces is a purge of URLs within the patience of a request.
func (c *Cache) purgePlaces(places []place) error {
	marks := make([]uint64, len(places))
	for i, at := range places {
		marks[i] = mark(markURL, at.text())
	}
	err := c.guard.do(func(ctx context.Context) error {
		if err := c.note(ctx, marks, false); err != nil {
			return err
		}
		return c.guard.store.Delete(ctx, c.keysOf(places))
	})
	if err != nil {
		return err
	}
	c.stats.purged.Add(uint64(len(places)))
	return nil
}

// invalidate purges the URL of a request that has changed something, and those that the answer names on the same host. While the store
// is away it is owed.
func (c *Cache) invalidate(r *http.Request, h http.Header) {
	places := []place{c.placeOfRequest(r)}
	for _, name := range [...]string{"Location", "Content-Location"} {
		text := h.Get(name)
		if text == "" {
			continue
		}
		base := url.URL{Scheme: schemeOf(r), Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
		if u, err := base.Parse(text); err == nil && strings.EqualFold(u.Host, r.Host) {
			places = append(places, c.placeOf(u))
		}
	}
	if err := c.purgePlaces(places); err != nil {
		c.owe(places)
	}
}

// maxOwed is how many URLs are remembered that are to be purged when the store is back. When there are more, everything is.
const maxOwed = 1000

func (c *Cache) owe(places []place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.owed)+len(places) > maxOwed {
		c.owed, c.owedAll = nil, true
	}
	if !c.owedAll {
		c.owed = append(c.owed, places...)
	}
}

// settleDebts purges what could not be purged while the store was away.
func (c *Cache) settleDebts() {
	c.mu.Lock()
	owed, all := c.owed, c.owedAll
	c.owed, c.owedAll = nil, false
	c.mu.Unlock()
	if len(owed) == 0 && !all {
		return
	}
	ok := c.inBackground(func() {
		marks := make([]uint64, len(owed))
		for i, at := range owed {
			marks[i] = mark(markURL, at.text())
		}
		err := c.guard.do(func(ctx context.Context) error {
			if err := c.note(ctx, marks, all); err != nil || all {
				return err
			}
			return c.guard.store.Delete(ctx, c.keysOf(owed))
		})
		if err != nil {
			c.oweAgain(owed, all)
		}
	})
	if !ok {
		c.oweAgain(owed, all)
	}
}

func (c *Cache) oweAgain(owed []place, all bool) {
	if all {
		c.mu.Lock()
		c.owed, c.owedAll = nil, true
		c.mu.Unlock()
		return
	}
	c.owe(owed)
}

// watcher looks at an answer that is not for the store before the client sees it.
type watcher struct {
	http.ResponseWriter
	c       *Cache
	r       *http.Request
	changes bool // the request may have changed something: what the client asks for next is new
	seen    bool
}

// Unwrap lets http.ResponseController reach what watcher does not have.
func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// look invalidates after success, and keeps the tags from the client.
func (w *watcher) look(status int) {
	if !w.c.cfg.KeepTags {
		for _, name := range tagHeaders {
			delete(w.Header(), name)
		}
	}
	if status < 200 {
		return
	}
	w.seen = true
	if w.changes && status < 400 {
		w.c.invalidate(w.r, w.Header())
	}
}

// WriteHeader passes the head on.
func (w *watcher) WriteHeader(status int) {
	if !w.seen {
		w.look(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watcher) open() {
	if !w.seen {
		w.WriteHeader(http.StatusOK)
	}
}

func (w *watcher) Write(p []byte) (int, error) {
	w.open()
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the short ways of the server.
func (w *watcher) ReadFrom(src io.Reader) (int64, error) {
	w.open()
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		return to.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
}

// FlushError is what http.ResponseController calls.
func (w *watcher) FlushError() error {
	w.open()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush serves callers that ask for an http.Flusher.
func (w *watcher) Flush() { _ = w.FlushError() }

// Hijack gives the connection away.
func (w *watcher) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.seen = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
