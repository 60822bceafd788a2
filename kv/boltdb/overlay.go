package boltdb

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/kv"
)

// maxOverlay is how many bytes of writes a store gathers. Whoever passes it waits for the disk.
const maxOverlay = 32 << 20

// overlay is what sync: interval has acknowledged and not committed yet. Reads look here first.
type overlay struct {
	mu       sync.RWMutex // protects all below, and orders the writes of the store
	pending  layer        // the newest
	flushing *layer       // in the transaction that is under way
	closed   bool
}

// layer is a set of writes.
type layer struct {
	writes  map[string]record // gone ones have no value
	gone    map[string]bool
	cleared bool  // before the writes
	bytes   int64 // about what they take in memory and will take in the file
}

func newLayer() layer { return layer{writes: map[string]record{}, gone: map[string]bool{}} }

func (l *layer) empty() bool { return !l.cleared && len(l.writes) == 0 && len(l.gone) == 0 }

// find reports what the layer knows of a key; settled is false when it knows nothing.
func (l *layer) find(key string) (r record, found, settled bool) {
	if r, ok := l.writes[key]; ok {
		return r, true, true
	}
	return record{}, false, l.gone[key] || l.cleared
}

func (l *layer) put(key string, r record) {
	delete(l.gone, key)
	if old, ok := l.writes[key]; ok {
		l.bytes -= footprint(key, old.value)
	}
	l.writes[key] = r
	l.bytes += footprint(key, r.value)
}

func (l *layer) remove(key string) {
	if old, ok := l.writes[key]; ok {
		l.bytes -= footprint(key, old.value)
		delete(l.writes, key)
	}
	if !l.gone[key] {
		l.gone[key] = true
		l.bytes += footprint(key, nil)
	}
}

// find looks through both layers. The caller holds mu.
func (o *overlay) find(key string) (r record, found, settled bool) {
	if r, found, settled = o.pending.find(key); settled || o.flushing == nil {
		return r, found, settled
	}
	return o.flushing.find(key)
}

// under puts older writes below those of l.
func (l *layer) under(older *layer) {
	if l.cleared {
		return
	}
	l.cleared = older.cleared
	for key, r := range older.writes {
		if _, found := l.writes[key]; !found && !l.gone[key] {
			l.put(key, r)
		}
	}
	for key := range older.gone {
		if _, found := l.writes[key]; !found {
			l.remove(key)
		}
	}
}

// overlaid is a view of a store through its overlay. The store's overlay is locked for it.
type overlaid struct {
	store *Store
	now   int64
}

// get implements view.
func (v overlaid) get(key string) (r record, found bool, err error) {
	r, found, settled := v.store.overlay.find(key)
	if !settled {
		err = v.store.file.view(func(tx *bolt.Tx) error {
			r, found, err = v.store.stored(tx, key)
			r.value = append([]byte(nil), r.value...)
			return err
		})
	}
	return r, err == nil && found && !r.expired(v.now), err
}

// put implements view.
func (v overlaid) put(key string, value []byte, expires int64) error {
	s := v.store
	if err := s.file.takes(); err != nil {
		s.refused.Add(1)
		return err
	}
	if need := footprint(key, value); s.file.cfg.MaxFileSize > 0 && s.overlay.pending.bytes+need > s.file.room.Load() {
		return s.full(key, need)
	}
	s.overlay.pending.put(key, record{value: append(make([]byte, 0, len(value)), value...), expires: expires})
	return nil
}

// remove implements view.
func (v overlaid) remove(key string) error {
	v.store.overlay.pending.remove(key)
	return nil
}

// clear implements view.
func (v overlaid) clear() error {
	v.store.overlay.pending = newLayer()
	v.store.overlay.pending.cleared = true
	return nil
}

// takeOverlays writes what the overlays hold.
func (c *change) takeOverlays() error {
	if c.file.cfg.Sync != kv.SyncInterval {
		return nil
	}
	room := c.room
	c.room = math.MaxInt64 // it was made sure of when the writes were acknowledged
	for _, s := range c.file.all() {
		layer := s.overlay.take()
		if layer == nil {
			continue
		}
		c.taken = append(c.taken, s)
		room -= layer.bytes
		err, _ := c.try(func(c *change) error { return c.apply(s, layer) })
		if err != nil {
			return err
		}
	}
	c.room = room
	return nil
}

// take moves pending to flushing, and returns it.
func (o *overlay) take() *layer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending.empty() {
		return nil
	}
	taken := o.pending
	o.flushing, o.pending = &taken, newLayer()
	return &taken
}

func (c *change) apply(s *Store, l *layer) error {
	p, err := c.on(s)
	if err != nil {
		return err
	}
	if l.cleared {
		if err := p.clear(); err != nil {
			return err
		}
	}
	for key := range maps.Keys(l.gone) {
		if err := p.remove(key); err != nil {
			return err
		}
	}
	for key, r := range l.writes {
		if err := p.put(key, r.value, r.expires); err != nil {
			return err
		}
	}
	return nil
}

// settleOverlays ends the transaction for the overlays: what was not committed goes below what came meanwhile, for the next one.
func (c *change) settleOverlays(committed bool) {
	for _, s := range c.taken {
		o := &s.overlay
		o.mu.Lock()
		if !committed {
			o.pending.under(o.flushing)
		}
		o.flushing = nil
		o.mu.Unlock()
	}
	c.taken = nil
	if committed {
		c.file.stuck.Store(nil)
	}
}

// flush commits what the overlays hold, if anything.
func (f *file) flush() {
	if f.cfg.Sync != kv.SyncInterval || f.usable() != nil || !f.gathered() {
		return
	}
	if err := f.transact(nil); err != nil && f.stuck.Swap(&err) == nil {
		f.log.Error("kv: acknowledged writes could not be committed; they stay in memory and are tried again, and new ones are refused until then",
			"file", f.path, "error", err)
	}
}

// takes reports why no more values can be acknowledged: what was acknowledged before cannot be committed. Without this all of the
// overlay would be lost with the process, and not what sync_interval says.
func (f *file) takes() error {
	why := f.stuck.Load()
	if why == nil {
		return nil
	}
	kind := kv.ErrUnavailable
	if text := (*why).Error(); strings.Contains(text, syscall.ENOSPC.Error()) || strings.Contains(text, syscall.EDQUOT.Error()) {
		kind = kv.ErrFull
	}
	return fmt.Errorf("%w: earlier writes cannot be committed (%w): values are refused until they are, deletes are not", kind, *why)
}

// gathered reports whether an overlay holds anything.
func (f *file) gathered() bool {
	return slices.ContainsFunc(f.all(), func(s *Store) bool {
		s.overlay.mu.RLock()
		defer s.overlay.mu.RUnlock()
		return !s.overlay.pending.empty()
	})
}
