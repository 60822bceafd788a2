package wasmhost

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

	gen    *generation                   // whose instances to use, for a move; nil for the current one's
	moving atomic.Pointer[chan struct{}] // is closed when the move in progress has ended; nil while there is none
}

var _ Store = (*Driver)(nil)

// OpenDriver opens the plugin as a store with the given configuration; nil is an empty one.
func (p *Plugin) OpenDriver(ctx context.Context, config any) (*Driver, error) {
	if !p.Kinds().Has(KindKV) {
		return nil, fmt.Errorf("plugin %q is %s, and no KV driver", p.name, p.Kinds())
	}
	if config == nil {
		config = struct{}{}
	}
	b, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("the configuration of the store cannot be written as JSON: %w", err)
	}
	d := &Driver{plugin: p, config: string(b)}
	if !p.driver.CompareAndSwap(nil, d) {
		return nil, fmt.Errorf("plugin %q is the driver of another store already: give each store a module of its own, with the same file", p.name)
	}
	l, err := d.Begin(ctx)
	if err != nil {
		p.driver.Store(nil)
		return nil, err
	}
	l.End()
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
	l, err := d.Begin(ctx)
	if err == nil {
		err = l.close()
		l.End()
	}
	d.plugin.driver.CompareAndSwap(d, nil)
	return err
}

// kvGuest is what an instance has of a driver.
type kvGuest struct {
	opened                                             bool
	get, set, delete, incr, expire, scan, batch, clear api.Function
	stack                                              [5]uint64
	clock                                              uint32 // where the guest has the time, 0: nowhere
	now                                                cheapClock
	lease                                              Lease
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
	ended := make(chan struct{})
	d.moving.Store(&ended)
	g.ext.release = sync.OnceFunc(func() {
		d.moving.Store(nil)
		close(ended)
	})
	ctx, cancel := context.WithTimeout(context.Background(), moveTimeout)
	defer cancel()
	if err := old.quiet(ctx); err != nil {
		return fmt.Errorf("wait for the operations of the open store: %w", err)
	}
	from, to := &Driver{plugin: p, config: d.config, gen: old}, &Driver{plugin: p, config: d.config, gen: g}
	if err := move(ctx, from, to); err != nil {
		return fmt.Errorf("move the data of the open store: %w", err)
	}
	return nil
}

// quiet returns when nobody is in g but who serves it. An operation that comes now sees moving, as that was set before, and one
// that does not see it has been counted.
func (g *generation) quiet(ctx context.Context) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for g.pool.withdraw(); g.refs.Load() > 1; g.pool.withdraw() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}

// instance returns one of the generation that serves. It waits for a move to end.
func (d *Driver) instance(ctx context.Context) (*instance, error) {
	for {
		moving := d.moving.Load()
		if moving == nil {
			inst, err := d.plugin.take(ctx)
			if moving = d.moving.Load(); moving == nil {
				return inst, err
			}
			if err == nil {
				inst.gen.giveBack(inst)
			}
		}
		select {
		case <-*moving:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// move copies every key. Nobody else uses either side.
func move(ctx context.Context, from, to *Driver) error {
	source, err := from.Begin(ctx)
	if err != nil {
		return err
	}
	defer source.End()
	target, err := to.Begin(ctx)
	if err != nil {
		return err
	}
	defer target.End()
	for cursor := []byte(nil); ; {
		keys, next, err := source.Scan("", cursor, maxScanPage)
		if err != nil {
			return err
		}
		for _, key := range keys {
			r, err := source.Get(key)
			if err == nil && r.Found {
				_, err = target.Set(key, r.Value, max(r.TTL, 0), 0, 0)
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
	g.scan, g.batch, g.clear = export(abi.KVScan), export(abi.KVBatch), export(abi.KVClear)
	if err := i.findClock(); err != nil {
		return errMailbox{err}
	}
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
