package driver

import (
	"encoding/binary"
	"time"
	"unsafe"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge"
)

func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

//go:wasmexport kv_abi
func kvABI() int32 { return abi.Version | int32(registered.features) | int32(abi.KVFeatureBatch) }

//go:wasmexport kv_open
func kvOpen(n uint32) int32 {
	defer edge.ExplainPanic(abi.KVOpen)
	config, _ := mailed(n, 0)
	if err := registered.store.Open(config); err != nil {
		edge.ExplainError(err)
		code, _ := status(err)
		return min(code, int32(abi.ErrUnavailable))
	}
	return 0
}

// run does one operation.
func run(o abi.Op) uint32 {
	defer edge.ExplainPanic("a driver's operation")
	return one(do(o))
}

//go:wasmexport kv_get
func kvGet(key uint32) uint32 {
	k, _ := mailed(key, 0)
	return run(abi.Op{Op: abi.OpGet, Key: k})
}

//go:wasmexport kv_set
func kvSet(key, value uint32, ttlMS int64, flags uint32, version int64) uint32 {
	k, v := mailed(key, value)
	return run(abi.Op{Op: abi.OpSet, Key: k, Value: v, TTL: ttlMS, Flags: flags, Version: version})
}

//go:wasmexport kv_delete
func kvDelete(key uint32, version int64) uint32 {
	k, _ := mailed(key, 0)
	return run(abi.Op{Op: abi.OpDelete, Key: k, Version: version})
}

//go:wasmexport kv_incr
func kvIncr(key uint32, delta, ttlMS int64) uint32 {
	k, _ := mailed(key, 0)
	return run(abi.Op{Op: abi.OpIncr, Key: k, TTL: ttlMS, Value: binary.LittleEndian.AppendUint64(nil, uint64(delta))})
}

//go:wasmexport kv_expire
func kvExpire(key uint32, ttlMS int64) uint32 {
	k, _ := mailed(key, 0)
	return run(abi.Op{Op: abi.OpExpire, Key: k, TTL: ttlMS})
}

//go:wasmexport kv_batch
func kvBatch(n uint32) uint32 {
	defer edge.ExplainPanic(abi.KVBatch)
	ops, _ := mailed(n, 0)
	return batch(ops)
}

//go:wasmexport kv_scan
func kvScan(prefix, cursor, limit uint32) uint32 {
	defer edge.ExplainPanic(abi.KVScan)
	p, c := mailed(prefix, cursor)
	return scan(p, c, int(limit))
}

//go:wasmexport kv_clear
func kvClear() uint32 {
	defer edge.ExplainPanic(abi.KVClear)
	if s, ok := registered.store.(Clearer); ok {
		return one(Entry{}, s.Clear())
	}
	return one(Entry{}, edge.ErrUnsupported)
}

//go:wasmexport kv_tick
func kvTick(nowMS int64) {
	defer edge.ExplainPanic(abi.KVTick)
	if s, ok := registered.store.(Ticker); ok {
		s.Tick(time.UnixMilli(nowMS))
	}
}

//go:wasmexport kv_close
func kvClose() {
	defer edge.ExplainPanic(abi.KVClose)
	if s, ok := registered.store.(Closer); ok {
		s.Close()
	}
}
