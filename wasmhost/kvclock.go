package wasmhost

import (
	"time"

	"github.com/edge-server/edge/sdk/abi"
)

// A guest that looks at the clock in every operation would pay more for the call than for the operation. So it may say where it
// wants to have the time: 8 bytes, into which the host writes before it calls, unless there is 0 in them.

// findClock asks the guest where that is. It must lie in memory.
func (i *instance) findClock() error {
	f := i.mod.ExportedFunction(abi.KVClock)
	if f == nil {
		return nil
	}
	stack := [1]uint64{}
	if err := i.run(f, stack[:]); err != nil {
		return err
	}
	at := uint32(stack[0])
	if _, ok := i.mod.Memory().ReadUint64Le(at); at != 0 && !ok {
		return refusal(abi.ErrInternal, "%s answers %d, which is outside of the guest's memory", abi.KVClock, at)
	}
	i.ext.kv.clock = at
	return nil
}

// setClock comes before every operation.
func (i *instance) setClock() {
	at := i.ext.kv.clock
	if at == 0 {
		return
	}
	mem := i.mod.Memory()
	if asked, ok := mem.ReadUint64Le(at); ok && asked != 0 {
		mem.WriteUint64Le(at, uint64(i.ext.kv.now.milli()))
	}
}

// cheapClock is the time in milliseconds at half the price: it reads the steady clock alone, and the other one each second.
type cheapClock struct{ read time.Time }

func (c *cheapClock) milli() int64 {
	passed := time.Since(c.read)
	if passed < 0 || passed > time.Second {
		c.read, passed = time.Now(), 0
	}
	return (c.read.UnixNano() + int64(passed)) / int64(time.Millisecond)
}
