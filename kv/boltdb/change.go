package boltdb

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/kv"
)

// storesBucket holds the counts of each store.
const storesBucket = "edge:stores"

// change is a transaction under way.
type change struct {
	file  *file
	tx    *bolt.Tx
	now   int64
	room  int64 // bytes that may still be added, if there is a limit
	dirty bool
	parts []*part
	taken []*Store // whose overlays are in this transaction
}

// part is a store in a change.
type part struct {
	change *change
	store  *Store
	data   *bolt.Bucket
	index  *bolt.Bucket // of deadlines
	counts counts       // as they will be after the commit

	expired uint64 // what the sweep removed
}

// counts are what a store holds.
type counts struct{ keys, bytes int64 }

// on returns the part of a store, and makes its buckets when they are not there.
func (c *change) on(s *Store) (*part, error) {
	for _, p := range c.parts {
		if p.store == s {
			return p, nil
		}
	}
	p := &part{change: c, store: s, counts: s.counts()}
	if err := p.open(); err != nil {
		return nil, err
	}
	c.parts = append(c.parts, p)
	return p, nil
}

func (p *part) open() (err error) {
	if p.data, err = p.bucket(p.store.bucket); err != nil {
		return err
	}
	p.index, err = p.bucket(p.store.index)
	return err
}

func (p *part) bucket(name []byte) (*bolt.Bucket, error) {
	if b := p.change.tx.Bucket(name); b != nil {
		return b, nil
	}
	p.change.dirty = true
	b, err := p.change.tx.CreateBucket(name)
	if err != nil {
		return nil, fmt.Errorf("bucket %s of %s: %w", name, p.change.file.path, err)
	}
	return b, nil
}

// get implements view.
func (p *part) get(key string) (record, bool, error) {
	data := p.data.Get([]byte(key))
	if data == nil {
		return record{}, false, nil
	}
	r, err := parse(key, data)
	if err != nil {
		return record{}, false, p.store.damaged(key, err)
	}
	return r, !r.expired(p.change.now), nil
}

// put implements view.
func (p *part) put(key string, value []byte, expires int64) error {
	c := p.change
	old, found := p.old(key)
	if c.file.cfg.MaxFileSize > 0 {
		if need := footprint(key, value); need > footprint(key, old.value) || !found {
			if need > c.room {
				return p.store.full(key, need)
			}
			c.room -= need
		}
	}
	if old.expires != expires {
		if err := p.dropIndex(key, old.expires); err != nil {
			return err
		}
		if expires != 0 {
			if err := p.index.Put(indexKey(expires, []byte(key)), nil); err != nil {
				return p.failed("index", key, err)
			}
		}
	}
	c.dirty = true
	if err := p.data.Put([]byte(key), encode(key, value, expires)); err != nil {
		return p.failed("write", key, err)
	}
	p.counts.bytes += int64(len(value))
	if found {
		p.counts.bytes -= int64(len(old.value))
	} else {
		p.counts.keys++
		p.counts.bytes += int64(len(key))
	}
	return nil
}

// remove implements view. What has expired, or is damaged, is removed like anything else.
func (p *part) remove(key string) error {
	old, found := p.old(key)
	if !found {
		return nil
	}
	if err := p.dropIndex(key, old.expires); err != nil {
		return err
	}
	p.change.dirty = true
	if err := p.data.Delete([]byte(key)); err != nil {
		return p.failed("delete", key, err)
	}
	p.counts.keys--
	p.counts.bytes -= int64(len(key) + len(old.value))
	return nil
}

// old is what stands under a key, expired or not. Something damaged counts as a value of its length.
func (p *part) old(key string) (r record, found bool) {
	data := p.data.Get([]byte(key))
	if data == nil {
		return record{}, false
	}
	r, err := parse(key, data)
	if err != nil {
		return record{value: data}, true
	}
	return r, true
}

func (p *part) dropIndex(key string, expires int64) error {
	if expires == 0 {
		return nil
	}
	if err := p.index.Delete(indexKey(expires, []byte(key))); err != nil {
		return p.failed("index", key, err)
	}
	return nil
}

func (p *part) failed(what, key string, err error) error {
	return fmt.Errorf("%s %s: %w", what, p.store.where(key), err)
}

// clear removes everything.
func (p *part) clear() error {
	for _, name := range [][]byte{p.store.bucket, p.store.index} {
		if err := p.change.tx.DeleteBucket(name); err != nil {
			return fmt.Errorf("clear bucket %s of %s: %w", name, p.change.file.path, err)
		}
	}
	p.change.dirty = true
	p.counts = counts{}
	return p.open()
}

// saveCounts writes the counts of all stores that the transaction touched.
func (c *change) saveCounts() error {
	b, err := c.tx.CreateBucketIfNotExists([]byte(storesBucket))
	if err != nil {
		return err
	}
	for _, p := range c.parts {
		if err := b.Put(p.store.bucket, p.counts.encode()); err != nil {
			return err
		}
	}
	return nil
}

// settleCounts makes what was committed visible in Stats.
func (c *change) settleCounts() {
	for _, p := range c.parts {
		p.store.keys.Store(p.counts.keys)
		p.store.bytes.Store(p.counts.bytes)
		p.store.expired.Add(p.expired)
	}
}

func (c counts) encode() []byte {
	data := binary.BigEndian.AppendUint64(nil, uint64(c.keys))
	return binary.BigEndian.AppendUint64(data, uint64(c.bytes))
}

func parseCounts(data []byte) (c counts, ok bool) {
	if len(data) != 16 {
		return c, false
	}
	c = counts{int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint64(data[8:]))}
	return c, c.keys >= 0 && c.bytes >= 0
}

// footprint is about what a key takes in the file: pages are half full in the worst case, and the deadline has an entry of its own.
func footprint(key string, value []byte) int64 {
	const element = 16
	return 2 * int64(2*len(key)+len(value)+recordHead+8+2*element)
}

// errKey is for keys that bbolt does not take.
var errKey = errors.New("a key of a boltdb store has between 1 and 32760 bytes")

func checkKeys(items []kv.Item) error {
	for i := range items {
		if err := checkKey(items[i].Key); err != nil {
			return err
		}
	}
	return nil
}

// checkKey: the index puts 8 bytes before the key.
func checkKey(key string) error {
	if n := len(key); n == 0 || n > bolt.MaxKeySize-8 {
		return fmt.Errorf("%w: %w, this one has %d", kv.ErrLimit, errKey, n)
	}
	return nil
}
