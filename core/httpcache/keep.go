package httpcache

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/edge-server/edge/kv"
)

// kept is an answer on its way into the store.
type kept struct {
	entry   entry
	expires time.Time
	marker  entry
	marked  bool
}

// build makes the entry, and the marker that leads to it where the URL has several. What the URL's answers have differed by once they
// go on to differ by: an answer that does not say so must not take the place of all.
func (x *exchange) build(v verdict, status int, header http.Header, body []byte, now time.Time) *kept {
	k := &kept{expires: now.Add(v.times.keep(header, x.c.cfg.Keep))}
	names := v.vary
	var salt []byte
	if x.marked {
		old := x.marker.names()
		if names = union(old, v.vary); len(names) == len(old) {
			salt = x.marker.variant[:]
		}
	}
	key := x.key
	k.entry = entry{flags: v.flags, status: status, epoch: x.state.epoch, times: v.times, received: now.UnixMilli()}
	if len(names) > 0 {
		if salt == nil {
			salt = newSalt()
		}
		k.marked, k.marker = true, newMarker(x.state.epoch, x.key, names, salt)
		k.entry.variant = variantOf(x.r.Header, names)
		key = variantKey(x.key, string(salt), k.entry.variant)
	}
	k.entry.encode(key, names, header, body)
	return k
}

// newSalt is as long as a variant, and text.
func newSalt() []byte {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.AppendEncode(nil, b[:])
}

// store writes the answer to the store: at once where that is memory, else beside the request. It reports whether it does.
func (x *exchange) store(k *kept, tags []string) bool {
	if x.state.epoch == 0 {
		x.c.stats.skipped.Add(1)
		x.c.flights.land(x.flight)
		return false
	}
	size := int64(len(k.entry.encoded))
	x.c.held.Add(size)
	write := func() {
		defer x.c.drop(size)
		defer x.c.flights.land(x.flight)
		if err := x.write(k, tags); err != nil {
			x.c.stats.skipped.Add(1)
			return
		}
	}
	if x.c.guard.instant || x.w == nil {
		write()
		return true
	}
	if !x.c.inBackground(write) {
		x.c.drop(size)
		x.c.stats.skipped.Add(1)
		x.c.flights.land(x.flight)
		return false
	}
	return true
}

// errPurged means that the answer was purged before it was stored.
var errPurged = errors.New("purged meanwhile")

// write stores marker and entry, and takes the entry back if something of it was purged since the target was asked: it may have been
// made of what was there before. A purge notes itself before it makes tags void, so one of the two is seen.
func (x *exchange) write(k *kept, tags []string) error {
	c := x.c
	err := c.guard.do(func(ctx context.Context) error {
		if k.marked {
			marker := kv.Item{Key: x.key, Value: k.marker.encoded, Expires: k.expires.Add(c.cfg.MaxTTL + c.cfg.Keep)}
			if err := c.guard.store.Set(ctx, []kv.Item{marker}); err != nil {
				return err
			}
		}
		item := kv.Item{Key: string(k.entry.name), Value: k.entry.encoded, Expires: k.expires}
		if len(tags) == 0 {
			return c.guard.store.Set(ctx, []kv.Item{item})
		}
		return c.guard.store.SetTagged(ctx, item, c.tagNames(tags))
	})
	if err != nil {
		return err
	}
	marks := x.marks(tags)
	purged := false
	err = c.guard.do(func(ctx context.Context) error {
		items := []kv.Item{{Key: c.stateKey}}
		if err := c.guard.store.Get(ctx, items); err != nil {
			return err
		}
		if purged = !items[0].Found || parseState(items[0].Value).purgedSince(x.state, marks); !purged {
			return nil
		}
		return c.guard.store.Delete(ctx, []kv.Item{{Key: string(k.entry.name)}})
	})
	if err == nil && purged {
		return errPurged
	}
	if err == nil {
		c.stats.stored.Add(1)
	}
	return err
}

// marks are what a purge that concerns the answer is noted by.
func (x *exchange) marks(tags []string) []uint64 {
	marks := []uint64{mark(markURL, x.place.text()), mark(markHost, x.place.host)}
	for _, tag := range tags {
		marks = append(marks, mark(markTag, tag))
	}
	return marks
}
