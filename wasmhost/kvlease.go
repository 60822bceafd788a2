package wasmhost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

// Lease is one instance of a driver for some operations, one after the other: what they share, such as finding the instance, is
// done once. Whoever has it is the only one to use it, for a short time, and gives it back with End.
//
// Times to live are milliseconds, 0 for ever where one is set. A guest that traps ends the lease: later operations fail as well.
type Lease struct {
	driver *Driver
	inst   *instance
	fault  error // why the instance must not be used again
}

// Record is what a driver has under a key.
type Record struct {
	Found   bool
	Value   []byte // a copy
	TTL     int64  // milliseconds that are left, at least 1; -1 without an end
	Version int64  // 0: the driver has none
}

// Begin takes an instance whose store is open.
func (d *Driver) Begin(ctx context.Context) (*Lease, error) {
	l, err := d.take(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.inst.openKV(d.config); err != nil {
		l.fault = guestFault(err)
		l.End()
		return nil, fmt.Errorf("kv driver %q: %s: %w", d.plugin.name, abi.KVOpen, err)
	}
	return l, nil
}

func (d *Driver) take(ctx context.Context) (*Lease, error) {
	inst, err := d.anInstance(ctx)
	if err != nil {
		return nil, fmt.Errorf("kv driver %q: %w", d.plugin.name, errors.Join(driverErrno(err), err))
	}
	inst.beginCall(ctx, phaseKV)
	l := &inst.ext.kv.lease
	*l = Lease{driver: d, inst: inst}
	return l, nil
}

// anInstance is of the generation that serves, or of the one that a move is about.
func (d *Driver) anInstance(ctx context.Context) (*instance, error) {
	switch {
	case d.gen == nil:
		return d.instance(ctx)
	case d.gen.enter():
		return d.gen.lend(ctx)
	}
	return nil, errNotThere
}

// End gives the instance back.
func (l *Lease) End() {
	inst, fault := l.inst, l.fault
	l.inst = nil
	switch {
	case fault != nil:
		inst.gen.salvage(inst)
	case inst.gen.isolated || inst.mod.IsClosed():
		inst.gen.recycle(inst)
	default:
		inst.endCall()
		inst.gen.giveBack(inst)
	}
}

// driverErrno is what a failed call means to whoever uses the store.
func driverErrno(err error) abi.Errno {
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errClosed), errors.Is(err, errNotThere):
		return abi.ErrUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, errTimeUp):
		return abi.ErrTimeout
	}
	return abi.ErrInternal
}

// call is one crossing: arguments into the mailbox, the export, its record.
func (l *Lease) call(operation string, f api.Function, first, second string, args ...uint64) (abi.Result, error) {
	if l.fault != nil {
		return abi.Result{}, l.fault
	}
	inst := l.inst
	if err := inst.post(first, second); err != nil {
		return abi.Result{}, l.failed(operation, err, guestFault(err) != nil)
	}
	inst.setClock()
	stack := inst.ext.kv.stack[:max(copy(inst.ext.kv.stack[:], args), 1)]
	if err := inst.run(f, stack); err != nil {
		return abi.Result{}, l.failed(operation, err, true)
	}
	r, err := inst.result(stack[0])
	if err != nil {
		return r, l.failed(operation, err, false)
	}
	return r, nil
}

// failed names the driver in an error. One of the guest's that is a fault ends the lease.
func (l *Lease) failed(operation string, err error, fault bool) error {
	if !fault {
		return fmt.Errorf("kv driver %q: %s: %w", l.driver.plugin.name, operation, err)
	}
	l.driver.plugin.trapped(l.inst, err)
	l.fault = fmt.Errorf("kv driver %q: %s: %w", l.driver.plugin.name, operation, errors.Join(driverErrno(err), err))
	return l.fault
}

// result reads the record that an export has answered. The text of an error is the guest's.
func (i *instance) result(ptr uint64) (abi.Result, error) {
	mem := i.mod.Memory()
	b, ok := mem.Read(uint32(ptr), abi.ResultSize)
	if uint32(ptr) == 0 || !ok {
		return abi.Result{}, refusal(abi.ErrInternal, "the driver's result at %d is no record in its memory", uint32(ptr))
	}
	r := abi.ReadResult(b)
	if r.Status == abi.StatusOK || r.Status == abi.StatusNotFound {
		return r, nil
	}
	text := i.ext.said
	if t, ok := mem.Read(r.ErrPtr, min(r.ErrLen, maxSaid)); ok && len(t) > 0 {
		text = printable(t)
	}
	code := abi.Errno(r.Status)
	switch {
	case r.Status == abi.StatusCondition:
		code = abi.ErrCondition
	case r.Status == abi.StatusExists:
		code = abi.ErrExists
	case r.Status > 0:
		code = abi.ErrInternal
	}
	if text == "" {
		return r, refusal(code, "%v", code)
	}
	return r, refusal(code, "%v: %s", code, text)
}

// content is a copy of n bytes at ptr.
func (i *instance) content(ptr, n uint32) ([]byte, error) {
	if int64(n) > int64(i.gen.limits.Body) {
		return nil, errBudget
	}
	b, ok := i.mod.Memory().Read(ptr, n)
	if !ok {
		return nil, refusal(abi.ErrInternal, "the driver's value of %d bytes at %d is outside of its memory", n, ptr)
	}
	value := make([]byte, len(b))
	copy(value, b)
	return value, nil
}

// Get returns what is under a key.
func (l *Lease) Get(key string) (rec Record, err error) {
	return rec, l.get(key, &rec, true)
}

// Look is Get without the value.
func (l *Lease) Look(key string) (rec Record, err error) {
	return rec, l.get(key, &rec, false)
}

// get is call for the operation that there are most of: it reads of the result what it needs.
func (l *Lease) get(key string, rec *Record, value bool) error {
	if l.fault != nil {
		return l.fault
	}
	inst := l.inst
	if err := inst.post(key); err != nil {
		return l.failed(abi.KVGet, err, guestFault(err) != nil)
	}
	g := &inst.ext.kv
	g.stack[0] = uint64(len(key))
	inst.setClock()
	if err := inst.run(g.get, g.stack[:1]); err != nil {
		return l.failed(abi.KVGet, err, true)
	}
	b, ok := inst.mod.Memory().Read(uint32(g.stack[0]), abi.ResultSize)
	if !ok || uint32(g.stack[0]) == 0 || binary.LittleEndian.Uint32(b) != uint32(abi.StatusOK) {
		if _, err := inst.result(g.stack[0]); err != nil {
			return l.failed(abi.KVGet, err, false)
		}
		return nil // not found
	}
	rec.Found, rec.TTL, rec.Version = true, int64(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))
	if rec.TTL >= 0 {
		rec.TTL = max(rec.TTL, 1)
	} else {
		rec.TTL = -1
	}
	if !value {
		return nil
	}
	var err error
	if rec.Value, err = inst.content(binary.LittleEndian.Uint32(b[24:]), binary.LittleEndian.Uint32(b[28:])); err != nil {
		*rec = Record{}
		return l.failed(abi.KVGet, err, false)
	}
	return nil
}

func found(r abi.Result, value []byte) Record {
	rec := Record{Found: true, Value: value, TTL: -1, Version: r.Version}
	if r.TTL >= 0 {
		rec.TTL = max(r.TTL, 1)
	}
	return rec
}

// Set stores a value and returns the version that it has; flags are abi.SetNX and the like. What the driver announces to lack is
// refused here.
func (l *Lease) Set(key string, value []byte, ttl int64, flags uint32, version int64) (int64, error) {
	if ttl > 0 || flags&abi.SetKeepTTL != 0 {
		if err := l.driver.needs(abi.KVFeatureTTL, "time to live"); err != nil {
			return 0, err
		}
	}
	if flags&(abi.SetNX|abi.SetXX|abi.SetIfVersion) != 0 {
		if err := l.driver.needs(abi.KVFeatureCAS, "conditional writes"); err != nil {
			return 0, err
		}
	}
	if int64(len(value)) > int64(l.inst.gen.limits.Body) {
		return 0, l.failed(abi.KVSet, errBudget, false)
	}
	r, err := l.call(abi.KVSet, l.inst.ext.kv.set, key, text(value), uint64(len(key)), uint64(len(value)), uint64(ttl), uint64(flags), uint64(version))
	if err == nil && r.Status == abi.StatusNotFound {
		err = l.failed(abi.KVSet, errKey, false)
	}
	return r.Version, err
}

// Delete removes a key, of a version unless that is 0, and reports whether it was there, if the driver says so.
func (l *Lease) Delete(key string, version int64) (bool, error) {
	if version != 0 {
		if err := l.driver.needs(abi.KVFeatureCAS, "conditional writes"); err != nil {
			return false, err
		}
	}
	r, err := l.call(abi.KVDelete, l.inst.ext.kv.delete, key, "", uint64(len(key)), uint64(version))
	return err == nil && r.Status == abi.StatusOK, err
}

// Expire sets what a key has to live and reports whether it is there.
func (l *Lease) Expire(key string, ttl int64) (bool, error) {
	if err := l.driver.needs(abi.KVFeatureTTL, "time to live"); err != nil {
		return false, err
	}
	r, err := l.call(abi.KVExpire, l.inst.ext.kv.expire, key, "", uint64(len(key)), uint64(ttl))
	return err == nil && r.Status == abi.StatusOK, err
}

// Incr adds to a number and returns the sum; ttl is that of a key which it makes.
func (l *Lease) Incr(key string, delta, ttl int64) (int64, error) {
	if err := l.driver.needs(abi.KVFeatureIncr, "counters"); err != nil {
		return 0, err
	}
	r, err := l.call(abi.KVIncr, l.inst.ext.kv.incr, key, "", uint64(len(key)), uint64(delta), uint64(ttl))
	if err != nil {
		return 0, err
	}
	b, err := l.inst.content(r.Ptr, r.Len)
	if err == nil && len(b) != 8 {
		err = refusal(abi.ErrInternal, "it answers %d bytes instead of a number", len(b))
	}
	if err != nil {
		return 0, l.failed(abi.KVIncr, err, false)
	}
	return int64(binary.LittleEndian.Uint64(b)), nil
}

// Scan returns a page of keys that begin with prefix, and where to go on; no cursor is the end.
func (l *Lease) Scan(prefix string, cursor []byte, most int) (keys []string, next []byte, err error) {
	if err := l.driver.needs(abi.KVFeatureScan, "scan"); err != nil {
		return nil, nil, err
	}
	r, err := l.call(abi.KVScan, l.inst.ext.kv.scan, prefix, text(cursor), uint64(len(prefix)), uint64(len(cursor)), uint64(most))
	if err != nil {
		return nil, nil, err
	}
	page, err := l.inst.content(r.Ptr, r.Len)
	if err == nil {
		keys, next, err = readPage(page)
	}
	if err != nil {
		return nil, nil, l.failed(abi.KVScan, err, false)
	}
	return keys, next, nil
}

func readPage(page []byte) (keys []string, next []byte, err error) {
	if len(page) == 0 {
		return nil, nil, nil
	}
	next, rest, ok := abi.NextScanItem(page)
	for len(rest) > 0 && ok {
		var key []byte
		if key, rest, ok = abi.NextScanItem(rest); ok {
			keys = append(keys, string(key))
		}
	}
	if !ok {
		return nil, nil, refusal(abi.ErrInternal, "it answers a page that is none")
	}
	return keys, next, nil
}

// Clear removes every key: by kv_clear, else by scan and delete.
func (l *Lease) Clear(ctx context.Context) error {
	if f := l.inst.ext.kv.clear; f != nil {
		_, err := l.call(abi.KVClear, f, "", "")
		if errnoOf(err) != abi.ErrUnsupported || err == nil || l.fault != nil {
			return err
		}
	}
	for {
		keys, next, err := l.Scan("", nil, maxScanPage)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if _, err := l.Delete(key, 0); err != nil {
				return err
			}
		}
		if len(next) == 0 || len(keys) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// Outcome is the result of one operation of a batch.
type Outcome struct {
	Err error // wraps an abi.Errno
	Record
}

// Batch does many operations in one call of the guest.
func (l *Lease) Batch(ops []abi.Op) ([]Outcome, error) {
	if err := l.driver.needs(abi.KVFeatureBatch, "batches"); err != nil {
		return nil, err
	}
	if l.fault != nil {
		return nil, l.fault
	}
	var packed []byte
	for _, op := range ops {
		packed = abi.AppendOp(packed, op)
	}
	inst := l.inst
	if int64(len(packed)) > int64(inst.gen.limits.Body) {
		return nil, l.failed(abi.KVBatch, errBudget, false)
	}
	if err := inst.post(text(packed)); err != nil {
		return nil, l.failed(abi.KVBatch, err, guestFault(err) != nil)
	}
	stack := [1]uint64{uint64(len(packed))}
	inst.setClock()
	if err := inst.run(inst.ext.kv.batch, stack[:]); err != nil {
		return nil, l.failed(abi.KVBatch, err, true)
	}
	outcomes, err := inst.outcomes(uint32(stack[0]), len(ops))
	if err != nil {
		return nil, l.failed(abi.KVBatch, err, false)
	}
	return outcomes, nil
}

func (i *instance) outcomes(ptr uint32, want int) ([]Outcome, error) {
	head, ok := i.mod.Memory().Read(ptr, 8)
	if ptr == 0 || !ok || int(binary.LittleEndian.Uint32(head)) != want {
		return nil, refusal(abi.ErrInternal, "it answers something else than %d results", want)
	}
	list, size := make([]Outcome, want), int64(0)
	for n := range list {
		o := &list[n]
		r, err := i.result(uint64(ptr) + 8 + uint64(n)*abi.ResultSize)
		switch {
		case err != nil:
			o.Err = err
			continue
		case r.Status == abi.StatusNotFound:
			o.Err = errKey
			continue
		}
		if size += int64(r.Len); size > int64(i.gen.limits.Body) {
			return nil, errBudget
		}
		value, err := i.content(r.Ptr, r.Len)
		o.Err, o.Record = err, found(r, value)
	}
	return list, nil
}

// Tick lets the driver expire keys and keep connections alive.
func (l *Lease) tick(nowMS int64) error {
	f := l.inst.mod.ExportedFunction(abi.KVTick)
	if f == nil {
		return nil
	}
	if err := l.inst.run(f, []uint64{uint64(nowMS)}); err != nil {
		return l.failed(abi.KVTick, err, true)
	}
	return nil
}

func (l *Lease) close() error {
	l.inst.ext.kv.opened = false
	f := l.inst.mod.ExportedFunction(abi.KVClose)
	if f == nil {
		return nil
	}
	if err := l.inst.run(f, nil); err != nil {
		return l.failed(abi.KVClose, err, true)
	}
	return nil
}
