package wasmhost

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

// Driver is a KV driver that is a plugin: arguments go into the mailbox, results are records in the guest's memory, and each
// operation crosses once. It is a Store, and follows the plugin through replacements of its file.
//
// A driver without the feature shared keeps the data in its memory. It has one instance, whose operations come one after the
// other. When its file is replaced, the data moves: the store stands still meanwhile. A driver that cannot scan is not replaced
// while its store is open, since the data would be lost.
type Driver struct {
	plugin *Plugin
	config string // as JSON

	gate *sync.RWMutex // held by operations, and by a move alone; nil for those of the move itself
	gen  *generation   // whose instances to use; nil for the current one's
}

var _ Store = (*Driver)(nil)

// OpenDriver opens the plugin as a store with the given configuration.
func (p *Plugin) OpenDriver(ctx context.Context, config any) (*Driver, error) {
	if !p.Kinds().Has(KindKV) {
		return nil, fmt.Errorf("plugin %q is %s, and no KV driver", p.name, p.Kinds())
	}
	b, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("the configuration of the store cannot be written as JSON: %w", err)
	}
	d := &Driver{plugin: p, config: string(b), gate: &sync.RWMutex{}}
	if !p.driver.CompareAndSwap(nil, d) {
		return nil, fmt.Errorf("plugin %q is the driver of another store already: give each store a module of its own, with the same file", p.name)
	}
	if err := d.do(ctx, abi.KVOpen, nil, func(*instance, *kvGuest) error { return nil }); err != nil {
		p.driver.Store(nil)
		return nil, err
	}
	p.wakeClock() // for kv_tick
	return d, nil
}

// Features are the bits of kv_abi.
func (d *Driver) Features() uint32 {
	if d.gen != nil {
		return d.gen.ext.kvFeatures
	}
	if g := d.plugin.current.Load(); g != nil {
		return g.ext.kvFeatures
	}
	return 0
}

// Close ends the store. The plugin goes on.
func (d *Driver) Close(ctx context.Context) error {
	err := d.do(ctx, abi.KVClose, nil, func(inst *instance, g *kvGuest) error {
		g.opened = false
		if f := inst.mod.ExportedFunction(abi.KVClose); f != nil {
			return inst.run(f, nil)
		}
		return nil
	})
	d.plugin.driver.CompareAndSwap(d, nil)
	return err
}

// kvGuest is what an instance has of a driver.
type kvGuest struct {
	opened                         bool
	get, set, delete, incr, expire api.Function
	stack                          [5]uint64
}

// prepareKV asks a module that is a driver what it can do. A driver with its data inside gets one instance.
func (g *generation) prepareKV(first *instance) error {
	x := &g.ext
	if !x.kinds.Has(KindKV) {
		return nil
	}
	stack := [1]uint64{}
	if err := first.runOnce(first.mod.ExportedFunction(abi.KVABI), stack[:]); err != nil {
		return first.startError("call "+abi.KVABI, err)
	}
	version := uint32(stack[0])
	if version>>16 != 1 {
		return fmt.Errorf("%s answers version %d; Edge has version 1", abi.KVABI, version>>16)
	}
	x.kvFeatures = version & 0xffff
	_, x.kvTicks = g.compiled.ExportedFunctions()[abi.KVTick]
	for feature, export := range map[uint32]string{
		abi.KVFeatureTTL: abi.KVExpire, abi.KVFeatureIncr: abi.KVIncr, abi.KVFeatureBatch: abi.KVBatch, abi.KVFeatureScan: abi.KVScan,
	} {
		if _, ok := g.compiled.ExportedFunctions()[export]; x.kvFeatures&feature != 0 && !ok {
			return fmt.Errorf("%s announces what needs the export %q, which is missing", abi.KVABI, export)
		}
	}
	if x.kvFeatures&abi.KVFeatureShared != 0 {
		return nil
	}
	if g.isolated {
		return errors.New("a KV driver that keeps its data in its memory cannot have isolation: request")
	}
	g.pool.only()
	return nil
}

// moveTimeout bounds for how long a store stands still for a replacement of its driver.
const moveTimeout = 30 * time.Second

// adopt takes over the data that the generation which serves keeps in its memory for an open store. From here on the store
// waits, until the generation is in service or closed: see release.
func (g *generation) adopt() error {
	p, old := g.ext.plugin, g.ext.plugin.current.Load()
	d := p.driver.Load()
	if d == nil || old == nil || old.ext.kvFeatures&abi.KVFeatureShared != 0 {
		return nil
	}
	if old.ext.kvFeatures&abi.KVFeatureScan == 0 {
		return errors.New("it keeps the data of an open store in its memory, which a replacement would lose, as it cannot scan: restart to replace it")
	}
	d.gate.Lock()
	g.ext.release = sync.OnceFunc(d.gate.Unlock)
	ctx, cancel := context.WithTimeout(context.Background(), moveTimeout)
	defer cancel()
	from, to := &Driver{plugin: p, config: d.config, gen: old}, &Driver{plugin: p, config: d.config, gen: g}
	if err := move(ctx, from, to); err != nil {
		return fmt.Errorf("move the data of the open store: %w", err)
	}
	return nil
}

func move(ctx context.Context, from, to *Driver) error {
	for cursor := []byte(nil); ; {
		keys, next, err := from.Scan(ctx, "", cursor, maxScanPage)
		if err != nil {
			return err
		}
		for _, key := range keys {
			e, err := from.Get(ctx, key)
			if err == nil && e.Found {
				err = to.Set(ctx, key, e.Value, SetOptions{TTL: e.TTL})
			}
			if err = cmp.Or(err, ctx.Err()); err != nil {
				return err
			}
		}
		if cursor = next; len(next) == 0 {
			return nil
		}
	}
}

// openKV opens the store in an instance, once.
func (i *instance) openKV(config string) error {
	g := &i.ext.kv
	if g.opened {
		return nil
	}
	export := i.mod.ExportedFunction
	g.get, g.set, g.delete, g.incr, g.expire = export(abi.KVGet), export(abi.KVSet), export(abi.KVDelete), export(abi.KVIncr), export(abi.KVExpire)
	if err := i.post(config); err != nil {
		return err
	}
	stack := [1]uint64{uint64(len(config))}
	if err := i.run(export(abi.KVOpen), stack[:]); err != nil {
		return errMailbox{err}
	}
	if code := int32(uint32(stack[0])); code != 0 {
		i.ext.failed = nil
		return refusal(abi.Errno(min(code, -1)), "%s refuses the store: %s (%d)", abi.KVOpen, i.ext.said, code)
	}
	g.opened = true
	return nil
}

// do takes an instance through one operation. An error of the guest's that is not a trap comes out of op by refused.
func (d *Driver) do(ctx context.Context, operation string, refused *error, op func(*instance, *kvGuest) error) error {
	if d.gate != nil {
		d.gate.RLock()
		defer d.gate.RUnlock()
	}
	var outside error
	err := d.plugin.runIn(ctx, d.gen, phaseKV, func(inst *instance) error {
		if err := inst.openKV(d.config); err != nil {
			outside = err
			return guestFault(err)
		}
		return op(inst, &inst.ext.kv)
	})
	switch {
	case outside != nil:
		return fmt.Errorf("kv driver %q: %s: %w", d.plugin.name, operation, outside)
	case err != nil:
		return fmt.Errorf("kv driver %q: %s: %w", d.plugin.name, operation, errors.Join(driverErrno(err), err))
	case refused != nil && *refused != nil:
		return *refused
	}
	return nil
}

// driverErrno is what a failed call means to whoever uses the store.
func driverErrno(err error) abi.Errno {
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errClosed), errors.Is(err, errNotThere):
		return abi.ErrUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return abi.ErrTimeout
	}
	return abi.ErrInternal
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
	text := ""
	if t, ok := mem.Read(r.ErrPtr, min(r.ErrLen, maxSaid)); ok {
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
	return r, refusal(code, "%v: %s", code, text)
}

// content is a copy of the value of r.
func (i *instance) content(r abi.Result) ([]byte, error) {
	if int64(r.Len) > int64(i.gen.limits.Body) {
		return nil, errBudget
	}
	b, ok := i.mod.Memory().Read(r.Ptr, r.Len)
	if !ok {
		return nil, refusal(abi.ErrInternal, "the driver's value of %d bytes at %d is outside of its memory", r.Len, r.Ptr)
	}
	return bytes.Clone(b), nil
}

// Get implements Store.
func (d *Driver) Get(ctx context.Context, key string) (e Entry, err error) {
	var refused error
	err = d.do(ctx, abi.KVGet, &refused, func(inst *instance, g *kvGuest) error {
		if refused = inst.post(key); refused != nil {
			return guestFault(refused)
		}
		g.stack[0] = uint64(len(key))
		if err := inst.run(g.get, g.stack[:1]); err != nil {
			return err
		}
		var r abi.Result
		if r, refused = inst.result(g.stack[0]); refused != nil || r.Status == abi.StatusNotFound {
			return nil
		}
		if e.Value, refused = inst.content(r); refused == nil {
			e.Found, e.Version = true, r.Version
			if r.TTL >= 0 {
				e.TTL = max(time.Duration(r.TTL)*time.Millisecond, 1)
			}
		}
		return nil
	})
	return e, err
}

// simple is an operation whose result has no value.
func (d *Driver) simple(ctx context.Context, operation string, missing error, call func(inst *instance, g *kvGuest) (uint64, error), parts ...string) error {
	var refused error
	return d.do(ctx, operation, &refused, func(inst *instance, g *kvGuest) error {
		if refused = inst.post(parts...); refused != nil {
			return guestFault(refused)
		}
		ptr, err := call(inst, g)
		if err != nil {
			return err
		}
		var r abi.Result
		if r, refused = inst.result(ptr); refused == nil && r.Status == abi.StatusNotFound {
			refused = missing
		}
		return nil
	})
}

func (d *Driver) needs(feature uint32, what string) error {
	if d.Features()&feature == 0 {
		return refusal(abi.ErrUnsupported, "the driver %q has no %s", d.plugin.name, what)
	}
	return nil
}

// Set implements Store.
func (d *Driver) Set(ctx context.Context, key string, value []byte, o SetOptions) error {
	if o.TTL > 0 || o.Flags&abi.SetKeepTTL != 0 {
		if err := d.needs(abi.KVFeatureTTL, "time to live"); err != nil {
			return err
		}
	}
	if o.Flags&(abi.SetNX|abi.SetXX|abi.SetIfVersion) != 0 {
		if err := d.needs(abi.KVFeatureCAS, "conditional writes"); err != nil {
			return err
		}
	}
	return d.simple(ctx, abi.KVSet, errKey, func(inst *instance, g *kvGuest) (uint64, error) {
		g.stack = [5]uint64{uint64(len(key)), uint64(len(value)), uint64(max(millis(o.TTL), 0)), uint64(o.Flags), uint64(o.Version)}
		err := inst.run(g.set, g.stack[:])
		return g.stack[0], err
	}, key, string(value))
}

// Delete implements Store.
func (d *Driver) Delete(ctx context.Context, key string, version int64) error {
	return d.simple(ctx, abi.KVDelete, nil, func(inst *instance, g *kvGuest) (uint64, error) {
		g.stack[0], g.stack[1] = uint64(len(key)), uint64(version)
		err := inst.run(g.delete, g.stack[:2])
		return g.stack[0], err
	}, key)
}

// Expire implements Store.
func (d *Driver) Expire(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if err := d.needs(abi.KVFeatureTTL, "time to live"); err != nil {
		return false, err
	}
	err := d.simple(ctx, abi.KVExpire, errKey, func(inst *instance, g *kvGuest) (uint64, error) {
		g.stack[0], g.stack[1] = uint64(len(key)), uint64(max(millis(ttl), 0))
		err := inst.run(g.expire, g.stack[:2])
		return g.stack[0], err
	}, key)
	if errors.Is(err, errKey) {
		return false, nil
	}
	return err == nil, err
}

// Incr implements Store.
func (d *Driver) Incr(ctx context.Context, key string, delta int64, ttl time.Duration) (n int64, err error) {
	if err := d.needs(abi.KVFeatureIncr, "counters"); err != nil {
		return 0, err
	}
	var refused error
	err = d.do(ctx, abi.KVIncr, &refused, func(inst *instance, g *kvGuest) error {
		if refused = inst.post(key); refused != nil {
			return guestFault(refused)
		}
		g.stack[0], g.stack[1], g.stack[2] = uint64(len(key)), uint64(delta), uint64(max(millis(ttl), 0))
		if err := inst.run(g.incr, g.stack[:3]); err != nil {
			return err
		}
		var r abi.Result
		if r, refused = inst.result(g.stack[0]); refused != nil {
			return nil
		}
		var b []byte
		if b, refused = inst.content(r); refused == nil && len(b) != 8 {
			refused = refusal(abi.ErrInternal, "%s answers %d bytes instead of a number", abi.KVIncr, len(b))
		}
		if refused == nil {
			n = int64(binary.LittleEndian.Uint64(b))
		}
		return nil
	})
	return n, err
}

// Scan implements Store.
func (d *Driver) Scan(ctx context.Context, prefix string, cursor []byte, most int) (keys []string, next []byte, err error) {
	if err := d.needs(abi.KVFeatureScan, "scan"); err != nil {
		return nil, nil, err
	}
	var refused error
	var page []byte
	err = d.do(ctx, abi.KVScan, &refused, func(inst *instance, _ *kvGuest) error {
		if refused = inst.post(prefix, string(cursor)); refused != nil {
			return guestFault(refused)
		}
		stack := [3]uint64{uint64(len(prefix)), uint64(len(cursor)), uint64(most)}
		if err := inst.run(inst.mod.ExportedFunction(abi.KVScan), stack[:]); err != nil {
			return err
		}
		var r abi.Result
		if r, refused = inst.result(stack[0]); refused == nil {
			page, refused = inst.content(r)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return readPage(page)
}

func readPage(page []byte) (keys []string, next []byte, err error) {
	next, rest, ok := abi.NextScanItem(page)
	for len(rest) > 0 && ok {
		var key []byte
		if key, rest, ok = abi.NextScanItem(rest); ok {
			keys = append(keys, string(key))
		}
	}
	if !ok {
		return nil, nil, refusal(abi.ErrInternal, "%s answers a page that is none", abi.KVScan)
	}
	return keys, next, nil
}

// Batch does many operations in one call of the guest. The results' values are copies.
func (d *Driver) Batch(ctx context.Context, ops []abi.Op) (results []Outcome, err error) {
	if err := d.needs(abi.KVFeatureBatch, "batches"); err != nil {
		return nil, err
	}
	var packed []byte
	for _, op := range ops {
		packed = abi.AppendOp(packed, op)
	}
	var refused error
	err = d.do(ctx, abi.KVBatch, &refused, func(inst *instance, _ *kvGuest) error {
		if refused = inst.post(string(packed)); refused != nil {
			return guestFault(refused)
		}
		stack := [1]uint64{uint64(len(packed))}
		if err := inst.run(inst.mod.ExportedFunction(abi.KVBatch), stack[:]); err != nil {
			return err
		}
		results, refused = inst.outcomes(uint32(stack[0]), len(ops))
		return nil
	})
	return results, err
}

// Outcome is the result of one operation of a batch.
type Outcome struct {
	Err     error // wraps an abi.Errno
	Value   []byte
	TTL     time.Duration // 0 without an end
	Version int64
}

func (i *instance) outcomes(ptr uint32, want int) ([]Outcome, error) {
	mem := i.mod.Memory()
	head, ok := mem.Read(ptr, 8)
	if ptr == 0 || !ok || int(binary.LittleEndian.Uint32(head)) != want {
		return nil, refusal(abi.ErrInternal, "%s answers something else than %d results", abi.KVBatch, want)
	}
	list := make([]Outcome, want)
	for n := range list {
		o := &list[n]
		r, err := i.result(uint64(ptr) + 8 + uint64(n)*abi.ResultSize)
		switch {
		case err != nil:
			o.Err = err
		case r.Status == abi.StatusNotFound:
			o.Err = errKey
		default:
			o.Value, o.Err = i.content(r)
		}
		o.Version = r.Version
		if r.TTL > 0 {
			o.TTL = time.Duration(r.TTL) * time.Millisecond
		}
	}
	return list, nil
}

// Clear removes every key: by kv_clear, else by scan and delete.
func (d *Driver) Clear(ctx context.Context) error {
	if g := d.plugin.current.Load(); g != nil {
		if _, ok := g.compiled.ExportedFunctions()[abi.KVClear]; ok {
			return d.simple(ctx, abi.KVClear, nil, func(inst *instance, _ *kvGuest) (uint64, error) {
				stack := [1]uint64{}
				err := inst.run(inst.mod.ExportedFunction(abi.KVClear), stack[:])
				return stack[0], err
			})
		}
	}
	for {
		keys, next, err := d.Scan(ctx, "", nil, maxScanPage)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := d.Delete(ctx, key, 0); err != nil {
				return err
			}
		}
		if len(next) == 0 || len(keys) == 0 {
			return nil
		}
	}
}

// Tick lets the driver expire keys and keep connections alive, about once a second.
func (d *Driver) Tick(ctx context.Context, now time.Time) error {
	return d.do(ctx, abi.KVTick, nil, func(inst *instance, _ *kvGuest) error {
		if f := inst.mod.ExportedFunction(abi.KVTick); f != nil {
			return inst.run(f, []uint64{uint64(now.UnixMilli())})
		}
		return nil
	})
}
