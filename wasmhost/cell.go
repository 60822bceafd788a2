package wasmhost

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero/api"
)

// cell is a mutable global of one instance. The engine's own way to it passes six places in memory, which took a small guest
// 10 ns a call, more among other plugins; the eight bytes that compiled code uses are found once instead.
type cell struct {
	bytes  *[8]byte // nil: only the engine knows
	global api.MutableGlobal
}

func (c *cell) get() uint64 {
	if c.bytes != nil {
		return binary.LittleEndian.Uint64(c.bytes[:])
	}
	return c.global.Get()
}

func (c *cell) set(v uint64) {
	if c.bytes != nil {
		binary.LittleEndian.PutUint64(c.bytes[:], v)
		return
	}
	c.global.Set(v)
}

// cellLayout is where the globals of a module's instances lie in what the engine keeps of each: the same for all.
type cellLayout struct {
	once sync.Once
	at   []int // of each global, -1 for what is no number; nil: not found
}

// maxCells bounds the search; real modules have a handful.
const maxCells = 256

// find gives cells their bytes, if the engine keeps them as expected.
func (l *cellLayout) find(cells []*cell) {
	if len(cells) > maxCells {
		return
	}
	context := engineContext(cells[0].global)
	if context == nil {
		return
	}
	l.once.Do(func() { l.at = offsetsIn(context, cells) })
	if l.at == nil {
		return
	}
	for n, c := range cells {
		if l.at[n] >= 0 {
			c.bytes = (*[8]byte)(context[l.at[n]:])
		}
	}
}

// engineContext is the memory in which compiled code keeps what belongs to one instance, its globals among it; nil if the engine
// is made in another way than the one this was written for.
func engineContext(global api.MutableGlobal) []byte {
	v := reflect.ValueOf(global)
	for _, name := range []string{"g", "Me", "opaque"} {
		if v.Kind() != reflect.Struct {
			return nil
		}
		if v = v.FieldByName(name); !v.IsValid() {
			return nil
		}
		for (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) && !v.IsNil() {
			v = v.Elem()
		}
	}
	if v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.Uint8 {
		return nil
	}
	return v.Bytes()
}

// offsetsIn finds the globals by what changes in context when they do, and believes it only when each is found in one place.
func offsetsIn(context []byte, cells []*cell) []int {
	offsets := make([]int, len(cells))
	for n, c := range cells {
		offsets[n] = -1
		if !isNumber(c.global.Type()) {
			continue
		}
		value, before := c.global.Get(), slices.Clone(context)
		c.global.Set(^value)
		at, ok := onlyChange(before, context, value)
		c.global.Set(value)
		if !ok || !bytes.Equal(before, context) {
			return nil
		}
		offsets[n] = at
	}
	return offsets
}

// onlyChange is where value has become its complement, if nothing else has changed.
func onlyChange(before, after []byte, value uint64) (at int, ok bool) {
	for n := 0; n+8 <= len(after); n += 8 {
		was, is := binary.LittleEndian.Uint64(before[n:]), binary.LittleEndian.Uint64(after[n:])
		if was == is {
			continue
		}
		if ok || was != value || is != ^value {
			return 0, false
		}
		at, ok = n, true
	}
	return at, ok
}

func isNumber(t api.ValueType) bool {
	switch t {
	case api.ValueTypeI32, api.ValueTypeI64, api.ValueTypeF32, api.ValueTypeF64:
		return true
	}
	return false
}
