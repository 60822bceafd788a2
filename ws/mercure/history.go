package mercure

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// history is what clients that come back read: the latest updates, in a file. It is written by one goroutine and read by many.
//
// The bucket of updates has them by their place in the order, that of ids leads from an id to the place (the earliest, if an id was used
// twice), and meta remembers what was last forgotten, so that a client that stands just before the oldest update is known to have missed
// nothing.
type history struct {
	mu   sync.RWMutex // guards db; locked while another process may have the file
	db   *bolt.DB     // nil: another process has it
	cfg  History
	now  func() time.Time
	path string

	// Of the writer.
	count int
	bytes int64
	last  uint64
}

var (
	updatesBucket = []byte("updates")
	idsBucket     = []byte("ids")
	metaBucket    = []byte("meta")
	floorKey      = []byte("floor") // id of the update before the oldest
	lastKey       = []byte("last")  // id of the latest, also when nothing is kept any more
	seqKey        = []byte("seq")   // and its place
)

// lockTimeout is how long another process may hold the file.
const lockTimeout = 5 * time.Second

// newHistory is a history that is not open: who reads it waits until open or leave.
func newHistory(cfg History, now func() time.Time) *history {
	h := &history{cfg: cfg, now: now, path: cfg.File}
	h.mu.Lock()
	return h
}

// open opens the file, which new has not, or close has closed.
func (h *history) open() error {
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	db, err := bolt.Open(h.path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType})
	if err != nil {
		if errors.Is(err, bolt.ErrTimeout) { //nolint:staticcheck // the name that this version has
			err = errors.New("another process has the file open")
		}
		return fmt.Errorf("history: %s: %w", h.path, err)
	}
	h.count, h.bytes, h.last = 0, 0, 0
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{updatesBucket, idsBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return h.measure(tx)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("history: %s: %w", h.path, err), db.Close())
	}
	h.db = db
	h.mu.Unlock()
	return nil
}

// close closes the file. Who reads it waits until open or leave.
func (h *history) close() error {
	h.mu.Lock()
	err := h.db.Close()
	h.db = nil
	return err
}

// leave tells those who wait that another process has the file.
func (h *history) leave() { h.mu.Unlock() }

// errMoved says that another process has the history.
var errMoved = errors.New("another process has the hub")

func (h *history) view(f func(*bolt.Tx) error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.db == nil {
		return errMoved
	}
	return h.db.View(f)
}

func (h *history) update(f func(*bolt.Tx) error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.db == nil {
		return errMoved
	}
	return h.db.Update(f)
}

// measure counts what is there.
func (h *history) measure(tx *bolt.Tx) error {
	c := tx.Bucket(updatesBucket).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		h.count++
		h.bytes += int64(len(v))
		h.last = max(h.last, seqOf(k))
	}
	if v := tx.Bucket(metaBucket).Get(seqKey); len(v) == 8 {
		h.last = max(h.last, seqOf(v))
	}
	return nil
}

func seqKeyOf(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func seqOf(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// maxIDKey is how long a key of bbolt may be; ids are shorter (limits.topic), this is the last resort.
const maxIDKey = bolt.MaxKeySize

// append stores updates in one transaction, and forgets what the bounds leave no room for. gap: something may be missing up to the last of
// them. When it returns they are on the disk.
func (h *history) append(list []*update, gap bool) error {
	count, size := h.count, h.bytes
	err := h.update(func(tx *bolt.Tx) error {
		updates, ids, meta := tx.Bucket(updatesBucket), tx.Bucket(idsBucket), tx.Bucket(metaBucket)
		updates.FillPercent = 0.9 // keys only grow
		for _, u := range list {
			record := u.encode()
			if err := updates.Put(seqKeyOf(u.seq), record); err != nil {
				return err
			}
			if id := []byte(u.id); len(id) <= maxIDKey && ids.Get(id) == nil {
				if err := ids.Put(id, seqKeyOf(u.seq)); err != nil {
					return err
				}
			}
			count++
			size += int64(len(record))
		}
		latest := list[len(list)-1]
		if err := errors.Join(meta.Put(lastKey, []byte(latest.id)), meta.Put(seqKey, seqKeyOf(latest.seq))); err != nil {
			return err
		}
		if gap {
			if err := meta.Put(gapKey, seqKeyOf(latest.seq)); err != nil {
				return err
			}
		}
		return h.trim(updates, ids, meta, &count, &size)
	})
	if err != nil {
		return fmt.Errorf("history: %s: %w", h.path, err)
	}
	h.count, h.bytes, h.last = count, size, list[len(list)-1].seq
	return nil
}

// trim forgets the oldest updates while there are too many, too large or too old ones.
func (h *history) trim(updates, ids, meta *bolt.Bucket, count *int, size *int64) error {
	type old struct {
		key []byte
		id  string
	}
	var gone []old
	c := updates.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		u, err := decode(seqOf(k), v)
		expired := err != nil || h.cfg.Age > 0 && h.now().Sub(u.at) > h.cfg.Age
		if !expired && *count <= h.cfg.Size && *size <= int64(h.cfg.MaxBytes) {
			break
		}
		*count--
		*size -= int64(len(v))
		o := old{key: bytes.Clone(k)}
		if err == nil {
			o.id = u.id
		}
		gone = append(gone, o)
	}
	for _, o := range gone { // a cursor that deletes while it walks skips
		if err := updates.Delete(o.key); err != nil {
			return err
		}
		if id := []byte(o.id); bytes.Equal(ids.Get(id), o.key) {
			if err := ids.Delete(id); err != nil {
				return err
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return meta.Put(floorKey, []byte(gone[len(gone)-1].id))
}

// expire forgets what is too old while nothing is published.
func (h *history) expire() error {
	if h.cfg.Age == 0 || h.count == 0 {
		return nil
	}
	due := false
	err := h.view(func(tx *bolt.Tx) error {
		k, v := tx.Bucket(updatesBucket).Cursor().First()
		u, err := decode(seqOf(k), v)
		due = err != nil || h.now().Sub(u.at) > h.cfg.Age
		return nil
	})
	if err != nil || !due {
		return err
	}
	count, size := h.count, h.bytes
	err = h.update(func(tx *bolt.Tx) error {
		return h.trim(tx.Bucket(updatesBucket), tx.Bucket(idsBucket), tx.Bucket(metaBucket), &count, &size)
	})
	if err != nil {
		return fmt.Errorf("history: %s: %w", h.path, err)
	}
	h.count, h.bytes = count, size
	return nil
}

// place finds where the update with an id stands. ok is false for one that is not there, or no more.
func (h *history) place(id string) (seq uint64, ok bool, err error) {
	err = h.view(func(tx *bolt.Tx) error {
		if v := tx.Bucket(idsBucket).Get([]byte(id)); len(v) == 8 {
			seq, ok = seqOf(v), true
			return nil
		}
		if meta := tx.Bucket(metaBucket); string(meta.Get(floorKey)) == id {
			ok = true
			if k, _ := tx.Bucket(updatesBucket).Cursor().First(); k != nil {
				seq = seqOf(k) - 1
			} else {
				seq = seqOf(meta.Get(seqKey))
			}
		}
		return nil
	})
	return seq, ok, err
}

// lastID is the id of the latest update, empty before the first.
func (h *history) lastID() (id string, err error) {
	err = h.view(func(tx *bolt.Tx) error {
		id = string(tx.Bucket(metaBucket).Get(lastKey))
		return nil
	})
	return id, err
}

// errForgotten says that updates which a client waits for have made room for others.
var errForgotten = errors.New("the history has forgotten what comes next")

// read calls f with the updates behind a place and up to another, oldest first, until f returns false. whole says that nothing may be
// missing behind the place.
func (h *history) read(after, upTo uint64, whole bool, f func(*update) bool) error {
	return h.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(updatesBucket).Cursor()
		k, v := c.Seek(seqKeyOf(after + 1))
		if whole && (k == nil || seqOf(k) > after+1) && after < upTo {
			return errForgotten
		}
		for ; k != nil && seqOf(k) <= upTo; k, v = c.Next() {
			u, err := decode(seqOf(k), v)
			if err != nil {
				return fmt.Errorf("history: %s: update %d: %w", h.path, seqOf(k), err)
			}
			if !f(u) {
				return nil
			}
		}
		return nil
	})
}

// beforeOldest is the place before the oldest update.
func (h *history) beforeOldest() (place uint64, err error) {
	err = h.view(func(tx *bolt.Tx) error {
		if k, _ := tx.Bucket(updatesBucket).Cursor().First(); k != nil {
			place = seqOf(k) - 1
		} else {
			place = seqOf(tx.Bucket(metaBucket).Get(seqKey))
		}
		return nil
	})
	return place, err
}
