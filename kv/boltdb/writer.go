package boltdb

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/edge-server/edge/kv"
)

// request is a write that waits for the writer.
type request struct {
	run   func(*change) error // what it does in the transaction; it may run more than once
	alone func() error        // instead of run: something that is no part of a transaction
	state atomic.Int32
	done  chan struct{} // closed when err is set
	err   error
}

// States of a request. Its caller may give up only while nobody has begun: run writes into what belongs to the caller.
const (
	waiting int32 = iota
	begun
	given // up
)

// A transaction takes this many requests at most, so that none waits for a giant.
const maxBatch = 1024

// maxFreeList is up to how many free pages the list of them is written with every commit. With more of them that would cost more
// than the data; the list is then made again from the file, when it is opened after a crash.
const maxFreeList = 4096

// do hands r to the writer and waits until it is done.
func (f *file) do(ctx context.Context, r *request) error {
	r.done = make(chan struct{})
	if err := f.usable(); err != nil {
		return err
	}
	select {
	case f.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-f.stop:
		return kv.ErrClosed
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, given) {
			return ctx.Err()
		}
	case <-f.done: // the writer may have ended between the two selects
	}
	select {
	case <-r.done:
		return r.err
	case <-f.done:
		select {
		case <-r.done:
			return r.err
		default:
			return kv.ErrClosed
		}
	}
}

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// write is the only goroutine that changes the file. It ends when stop is closed, after what is queued.
func (f *file) write() {
	defer close(f.done)
	sweep := time.NewTicker(f.cfg.SweepInterval)
	defer sweep.Stop()
	var flush <-chan time.Time
	if f.cfg.Sync == kv.SyncInterval {
		ticker := time.NewTicker(f.cfg.SyncInterval)
		defer ticker.Stop()
		flush = ticker.C
	}
	batch := make([]*request, 0, maxBatch)
	for {
		select {
		case r := <-f.queue:
			f.run(f.gather(append(batch[:0], r)))
		case <-flush:
			f.flush()
		case <-sweep.C:
			f.sweep()
		case <-f.stop:
			f.end(batch)
			return
		}
	}
}

// gather takes what waits. Clients that were just answered get one turn to come back with the next write: else the first of them
// would have a transaction of its own, and the rest the one after.
func (f *file) gather(batch []*request) []*request {
	for turn := 0; turn < 2; turn++ {
	drain:
		for len(batch) < maxBatch {
			select {
			case r := <-f.queue:
				batch = append(batch, r)
			default:
				break drain
			}
		}
		if turn == 0 {
			runtime.Gosched()
		}
	}
	return batch
}

// end does what is queued and closes the file.
func (f *file) end(batch []*request) {
	for {
		if batch = f.gather(batch[:0]); len(batch) == 0 {
			break
		}
		f.run(batch)
	}
	f.flush()
	f.settle()
	f.closeErr = f.db.Close()
}

// run does a batch. Requests that stand alone divide it.
func (f *file) run(batch []*request) {
	kept := batch[:0]
	for _, r := range batch {
		if !r.state.CompareAndSwap(waiting, begun) {
			continue
		}
		if r.alone == nil {
			kept = append(kept, r)
			continue
		}
		f.commit(kept)
		kept = kept[:0]
		r.finish(r.alone())
	}
	f.commit(kept)
}

// commit does requests in one transaction, together with what the overlays hold, and answers them.
func (f *file) commit(batch []*request) {
	if len(batch) == 0 {
		return
	}
	err := f.transact(batch)
	if errors.Is(err, kv.ErrFull) && len(batch) > 1 {
		for _, r := range batch { // one is too much; the others are not to suffer for it
			f.commit([]*request{r})
		}
		return
	}
	for _, r := range batch {
		if err != nil {
			r.err = err
		}
		close(r.done)
	}
}

// transact runs requests in a transaction until it holds, without those that panic. Errors of a request are in the request.
func (f *file) transact(batch []*request) (err error) {
	if err := f.usable(); err != nil {
		return err
	}
	skip := map[*request]bool{}
	for relieved := false; ; {
		panicked, err := f.attempt(batch, skip)
		switch {
		case panicked != nil:
			skip[panicked] = true
		case relieved || !errors.Is(err, kv.ErrFull) || !f.relieve():
			return err
		default:
			relieved = true
		}
	}
}

// attempt is one transaction. A request that panics leaves the transaction in an unknown state, so it is given up.
func (f *file) attempt(batch []*request, skip map[*request]bool) (panicked *request, err error) {
	tx, err := f.begin()
	if err != nil {
		return nil, err
	}
	c := &change{file: f, tx: tx, now: time.Now().UnixMilli(), room: f.room.Load()}
	if err := c.takeOverlays(); err != nil {
		return nil, errors.Join(err, c.rollback())
	}
	for _, r := range batch {
		if skip[r] {
			continue
		}
		if err, ok := c.try(r.run); ok {
			r.err = err
			continue
		} else {
			r.err = err
			return r, c.rollback()
		}
	}
	if !c.dirty { // the overlays held nothing that changes anything, such as deletes of keys that are not there
		c.settleOverlays(true)
		return nil, c.rollback()
	}
	return nil, c.commit()
}

func (f *file) begin() (tx *bolt.Tx, err error) {
	defer guard(f.path, &err)()
	return f.db.Begin(true)
}

// try runs part of a transaction; ok is false when it panicked.
func (c *change) try(run func(*change) error) (err error, ok bool) {
	defer func() {
		if !ok {
			err = errors.Join(err, errors.New("the write was given up"))
		}
	}()
	defer guard(c.file.path, &err)()
	err = run(c)
	return err, true
}

// commit writes the transaction to the file and, unless sync is never, to the disk.
func (c *change) commit() error {
	f := c.file
	err, ok := c.try(func(c *change) error {
		if err := c.saveCounts(); err != nil {
			return errors.Join(err, c.tx.Rollback())
		}
		f.db.NoFreelistSync = f.db.Stats().FreePageN > maxFreeList
		return c.tx.Commit()
	})
	if !ok {
		_, _ = c.try(func(c *change) error { return c.tx.Rollback() }) // or nobody could close the file
	}
	c.settleOverlays(err == nil)
	f.measure()
	switch {
	case err == nil:
		c.settleCounts()
		return nil
	case errors.Is(err, bolterrors.ErrMaxSizeReached):
		return fmt.Errorf("%w: %s has reached its boltdb.max_file_size of %s; delete keys, give them a timeout, or raise it", kv.ErrFull, f.path, f.cfg.MaxFileSize)
	case !ok || strings.Contains(err.Error(), syscall.EIO.Error()): // bbolt does not wrap all of them
		// After a failed sync the kernel counts the pages as written: a second try would succeed without writing anything.
		broken := fmt.Errorf("%s: an earlier write failed (%w): what the disk holds is not known, so nothing more is written; check the disk and restart Edge", f.path, err)
		f.broken.Store(&broken)
		f.log.Error("kv: a boltdb file takes no more writes", "file", f.path, "error", err)
		return broken
	}
	return fmt.Errorf("write %s: %w", f.path, err)
}

func (c *change) rollback() error {
	c.settleOverlays(false)
	err, _ := c.try(func(c *change) error { return c.tx.Rollback() })
	return err
}

// measure notes how much room there is. The reserve is for deletes, which need fresh pages, too.
func (f *file) measure() {
	stats := f.db.Stats()
	var size int64
	err := f.view(func(tx *bolt.Tx) error {
		size = tx.Size()
		return nil
	})
	if err != nil {
		return
	}
	free := int64(stats.FreePageN+stats.PendingPageN) * int64(f.db.Info().PageSize)
	f.diskSize.Store(size)
	f.free.Store(free)
	limit := int64(f.cfg.MaxFileSize)
	f.room.Store(limit - min(limit/16, 32<<20) - int64(f.db.AllocSize) - (size - free))
}

// settle leaves a list of free pages in the file, so that the next start need not look for them.
func (f *file) settle() {
	if !f.db.NoFreelistSync || f.usable() != nil {
		return
	}
	f.db.NoFreelistSync = false
	tx, err := f.begin()
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		f.log.Warn("kv: the list of free pages was not written; the next start looks for them", "file", f.path, "error", err)
	}
}
