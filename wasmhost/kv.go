package wasmhost

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const (
	maxKey      = 4096
	maxBatch    = 1000 // operations
	maxScanPage = 1000 // keys
)

// Store is a key-value store as plugins use it: every store of the kv section, joined by core, and a KV driver that is itself a
// plugin. Errors wrap an abi.Errno where the guest is to know more than "internal": abi.ErrCondition, abi.ErrUnsupported, ….
type Store interface {
	// Get answers Found false for a key that is not there. The value may be kept.
	Get(ctx context.Context, key string) (Entry, error)
	// Set and the others may keep neither key nor value without copying them.
	Set(ctx context.Context, key string, value []byte, opts SetOptions) error
	// Delete with version 0 removes any.
	Delete(ctx context.Context, key string, version int64) error
	// Expire reports whether the key is there; ttl 0 is for ever.
	Expire(ctx context.Context, key string, ttl time.Duration) (bool, error)
	// Incr returns the new number; ttl is that of a key that it makes.
	Incr(ctx context.Context, key string, delta int64, ttl time.Duration) (int64, error)
	// Scan returns keys that begin with prefix, and where to go on; no cursor is the end.
	Scan(ctx context.Context, prefix string, cursor []byte, most int) (keys []string, next []byte, err error)
}

// Entry is what a store has under a key.
type Entry struct {
	Found   bool
	Value   []byte
	TTL     time.Duration // that is left; 0 without an end
	Version int64         // 0: the store has none
}

// SetOptions are those of Store.Set.
type SetOptions struct {
	TTL     time.Duration // 0 is for ever
	Flags   uint32        // abi.SetNX and the like
	Version int64         // with abi.SetIfVersion
}

func kvFunctions() []edgeFunction {
	return []edgeFunction{
		{abi.KVUseOpen, "ii:i", always, kvOpen},
		{abi.KVUseGet, "iiiiii:i", whileRunning, kvGet},
		{abi.KVUseSet, "iiiiiIiI:i", whileRunning, kvSet},
		{abi.KVUseDelete, "iiiI:i", whileRunning, kvDelete},
		{abi.KVUseExpire, "iiiI:i", whileRunning, kvExpire},
		{abi.KVUseIncr, "iiiIIi:i", whileRunning, kvIncr},
		{abi.KVUseBatch, "iiiii:i", whileRunning, kvBatch},
		{abi.KVUseScan, "iiiiiiii:i", whileRunning, kvScan},
	}
}

// kvOpen answers the place of the store in the grants: the same number in every instance, and in clones of one.
func kvOpen(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := textAt(mem, s[0], s[1], 256)
	if err != nil {
		return 0, err
	}
	at := slices.Index(i.gen.ext.grants.KV, name)
	if at < 0 {
		return 0, refusal(abi.ErrDenied, "the store %.64q is not granted: plugins.modules.%s.allow.kv has %q", name, i.gen.name, i.gen.ext.grants.KV)
	}
	return int64(at) + 1, nil
}

// waitContext is the context of a call into a store. Most stores answer at once and never look at it, so that what it takes to end
// at the deadline is made when somebody asks. It is valid until the call returns.
type waitContext struct {
	context.Context // of the request
	inst            *instance
	made            context.Context
	cancel          context.CancelFunc
}

// patience is waiting for stores.
func (i *instance) patience() context.Context {
	w := &i.ext.wait
	if w.cancel != nil {
		w.cancel()
	}
	*w = waitContext{Context: i.Context, inst: i}
	return w
}

// Deadline is that of the call.
func (w *waitContext) Deadline() (time.Time, bool) { return w.real().Deadline() }

// Done ends with the call's time or its request.
func (w *waitContext) Done() <-chan struct{} { return w.real().Done() }

// Err is why it ended.
func (w *waitContext) Err() error {
	if w.made == nil {
		return w.Context.Err()
	}
	return w.made.Err()
}

func (w *waitContext) real() context.Context {
	if w.made == nil {
		w.made, w.cancel = w.inst.waiting()
	}
	return w.made
}

// store is the one behind a handle, and the key of the call.
func (i *instance) store(mem api.Memory, s []uint64) (Store, string, error) {
	store, err := i.storeOf(s[0])
	if err != nil {
		return nil, "", err
	}
	key, err := textAt(mem, s[1], s[2], maxKey)
	if err == nil && key == "" {
		err = refusal(abi.ErrInvalid, "an empty key")
	}
	return store, key, err
}

func (i *instance) storeOf(handle uint64) (Store, error) {
	granted, h := i.gen.ext.grants.KV, int(uint32(handle))
	if h < 1 || h > len(granted) {
		return nil, refusal(abi.ErrInvalid, "%d is not a handle of a store", int32(h))
	}
	if open := i.gen.ext.services.Store; open != nil {
		if store := open(granted[h-1]); store != nil {
			return store, nil
		}
	}
	return nil, refusal(abi.ErrUnavailable, "the store %q is not open", granted[h-1])
}

func ttlOf(ms uint64) (time.Duration, error) {
	ttl := int64(ms)
	if ttl < 0 {
		return 0, refusal(abi.ErrInvalid, "a ttl of %d ms", ttl)
	}
	return time.Duration(min(ttl, 1<<62/int64(time.Millisecond))) * time.Millisecond, nil
}

// millis rounds up: what is to live has at least a millisecond. No end is -1.
func millis(ttl time.Duration) int64 {
	if ttl <= 0 {
		return -1
	}
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}

// millisLeft rounds down, so that nothing has more left than it was given: stores that count in milliseconds keep it for the
// rest of the last one as well. What lives has at least a millisecond. No end is -1.
func millisLeft(ttl time.Duration) int64 {
	if ttl <= 0 {
		return -1
	}
	return max(int64(ttl/time.Millisecond), 1)
}

func kvGet(i *instance, mem api.Memory, s []uint64) (int64, error) {
	store, key, err := i.store(mem, s)
	if err != nil {
		return 0, err
	}
	var meta []byte
	if uint32(s[5]) != 0 {
		if meta, err = bytesAt(mem, s[5], 16); err != nil {
			return 0, err
		}
	}
	e, err := store.Get(i.patience(), key)
	switch {
	case err != nil:
		return 0, err
	case !e.Found:
		return 0, errKey
	}
	if meta != nil {
		binary.LittleEndian.PutUint64(meta, uint64(millisLeft(e.TTL)))
		binary.LittleEndian.PutUint64(meta[8:], uint64(e.Version))
	}
	return give(mem, s[3], s[4], e.Value)
}

func (i *instance) value(mem api.Memory, ptr, n uint64) ([]byte, error) {
	if int64(uint32(n)) > int64(i.gen.limits.Body) {
		return nil, errBudget
	}
	i.spendBytes(int(uint32(n))) // it is going to be copied
	return bytesAt(mem, ptr, n)
}

func kvSet(i *instance, mem api.Memory, s []uint64) (int64, error) {
	store, key, err := i.store(mem, s)
	if err != nil {
		return 0, err
	}
	value, err := i.value(mem, s[3], s[4])
	if err != nil {
		return 0, err
	}
	return 0, setIn(i.patience(), store, key, value, s[5], uint32(s[6]), int64(s[7]))
}

func setIn(ctx context.Context, store Store, key string, value []byte, ttlMS uint64, flags uint32, version int64) error {
	ttl, err := ttlOf(ttlMS)
	const known = abi.SetNX | abi.SetXX | abi.SetIfVersion | abi.SetKeepTTL
	switch {
	case err != nil:
		return err
	case flags&^known != 0, flags&abi.SetNX != 0 && flags&(abi.SetXX|abi.SetIfVersion) != 0:
		return refusal(abi.ErrInvalid, "flags %#x of set are unknown or exclude each other", flags)
	}
	return store.Set(ctx, key, value, SetOptions{ttl, flags, version})
}

func kvDelete(i *instance, mem api.Memory, s []uint64) (int64, error) {
	store, key, err := i.store(mem, s)
	if err != nil {
		return 0, err
	}
	return 0, store.Delete(i.patience(), key, int64(s[3]))
}

func kvExpire(i *instance, mem api.Memory, s []uint64) (int64, error) {
	store, key, err := i.store(mem, s)
	if err != nil {
		return 0, err
	}
	ttl, err := ttlOf(s[3])
	if err != nil {
		return 0, err
	}
	found, err := store.Expire(i.patience(), key, ttl)
	if found {
		return 1, err
	}
	return 0, err
}

func kvIncr(i *instance, mem api.Memory, s []uint64) (int64, error) {
	store, key, err := i.store(mem, s)
	if err != nil {
		return 0, err
	}
	ttl, err := ttlOf(s[4])
	if err != nil {
		return 0, err
	}
	out, err := bytesAt(mem, s[5], 8)
	if err != nil {
		return 0, err
	}
	n, err := store.Incr(i.patience(), key, int64(s[3]), ttl)
	if err == nil {
		binary.LittleEndian.PutUint64(out, uint64(n))
	}
	return 0, err
}

// outcome is one result of a batch before its place in the guest's memory is known.
type outcome struct {
	abi.Result
	value []byte
	text  string
}

func kvBatch(i *instance, mem api.Memory, s []uint64) (int64, error) {
	store, err := i.storeOf(s[0])
	if err != nil {
		return 0, err
	}
	ops, err := i.batch(mem, s[1], s[2])
	if err != nil {
		return 0, err
	}
	ctx, results, size := i.patience(), make([]outcome, len(ops)), 8+len(ops)*abi.ResultSize
	for n, op := range ops {
		results[n] = doOp(ctx, store, op)
		if size += len(results[n].value) + len(results[n].text); int64(size) > int64(i.gen.limits.Body) {
			return 0, refusal(abi.ErrTooLarge, "the answer of the batch is larger than limits.body; %d of %d operations were done", n+1, len(ops))
		}
	}
	if uint64(size) > uint64(uint32(s[4])) {
		return int64(size), nil
	}
	to, err := bytesAt(mem, s[3], uint64(size))
	if err != nil {
		return 0, err
	}
	packOutcomes(to, uint32(s[3]), results)
	return int64(size), nil
}

// batch reads and checks the operations before the first is done. They are copies: the store may wait.
func (i *instance) batch(mem api.Memory, ptr, n uint64) ([]abi.Op, error) {
	b, err := i.value(mem, ptr, n)
	if err != nil {
		return nil, err
	}
	var ops []abi.Op
	for rest := slices.Clone(b); len(rest) > 0; {
		op, more, ok := abi.NextOp(rest)
		if !ok || op.Op < abi.OpGet || op.Op > abi.OpExpire || len(op.Key) == 0 || len(op.Key) > maxKey || op.Op == abi.OpIncr && len(op.Value) != 8 {
			return nil, refusal(abi.ErrInvalid, "operation %d of the batch is malformed", len(ops))
		}
		if rest = more; len(ops) == maxBatch {
			return nil, refusal(abi.ErrTooLarge, "a batch has at most %d operations", maxBatch)
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func doOp(ctx context.Context, store Store, op abi.Op) (o outcome) {
	o.TTL = -1
	key := string(op.Key)
	var err error
	switch op.Op {
	case abi.OpGet:
		var e Entry
		if e, err = store.Get(ctx, key); err == nil && !e.Found {
			err = errKey
		}
		o.value, o.TTL, o.Version = e.Value, millisLeft(e.TTL), e.Version
	case abi.OpSet:
		err = setIn(ctx, store, key, op.Value, uint64(op.TTL), op.Flags, op.Version)
	case abi.OpDelete:
		err = store.Delete(ctx, key, op.Version)
	case abi.OpIncr:
		var n int64
		var ttl time.Duration
		if ttl, err = ttlOf(uint64(op.TTL)); err == nil {
			n, err = store.Incr(ctx, key, int64(binary.LittleEndian.Uint64(op.Value)), ttl)
		}
		o.value = binary.LittleEndian.AppendUint64(nil, uint64(n))
	case abi.OpExpire:
		found := false
		var ttl time.Duration
		if ttl, err = ttlOf(uint64(op.TTL)); err == nil {
			found, err = store.Expire(ctx, key, ttl)
		}
		if err == nil && !found {
			err = errKey
		}
	}
	if err != nil {
		o.Status, o.value, o.text = statusOf(err), nil, err.Error()
		o.text = o.text[:min(len(o.text), 200)]
	}
	return o
}

// statusOf is an error as the status of a result.
func statusOf(err error) int32 {
	switch code := errnoOf(err); code {
	case abi.ErrNotFound:
		return abi.StatusNotFound
	case abi.ErrCondition:
		return abi.StatusCondition
	case abi.ErrExists:
		return abi.StatusExists
	default:
		return int32(code)
	}
}

// packOutcomes fills to, which lies at address base of the guest.
func packOutcomes(to []byte, base uint32, results []outcome) {
	binary.LittleEndian.PutUint32(to, uint32(len(results)))
	binary.LittleEndian.PutUint32(to[4:], 0)
	at := 8 + len(results)*abi.ResultSize
	place := func(n int) (uint32, uint32) {
		if n == 0 {
			return 0, 0
		}
		at += n
		return base + uint32(at-n), uint32(n)
	}
	for n := range results {
		o := &results[n]
		copy(to[at:], o.value)
		o.Ptr, o.Len = place(len(o.value))
		copy(to[at:], o.text)
		o.ErrPtr, o.ErrLen = place(len(o.text))
		o.Put(to[8+n*abi.ResultSize:])
	}
}

func kvScan(i *instance, mem api.Memory, s []uint64) (int64, error) {
	store, err := i.storeOf(s[0])
	if err != nil {
		return 0, err
	}
	prefix, err := textAt(mem, s[1], s[2], maxKey)
	cursor, cursorErr := textAt(mem, s[3], s[4], maxKey)
	if err := errors.Join(err, cursorErr); err != nil {
		return 0, err
	}
	most := uint32(s[5])
	if most < 1 || most > maxScanPage {
		return 0, refusal(abi.ErrInvalid, "a page of %d keys; 1 to %d are possible", most, maxScanPage)
	}
	keys, next, err := store.Scan(i.patience(), prefix, []byte(cursor), int(most))
	if err != nil {
		return 0, err
	}
	page := abi.AppendScanCursor(nil, next)
	for _, key := range keys {
		page = abi.AppendScanKey(page, []byte(key))
	}
	if int64(len(page)) > int64(i.gen.limits.Body) {
		return 0, errBudget
	}
	return give(mem, s[6], s[7], page)
}
