package rpc

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// What a GOB argument may be. An element of a list takes a byte of the frame, and what the method makes of it may take a thousand
// times that: a frame of 16 MiB would end the server for want of memory. The decoder has no bound of its own, so the argument is
// walked through first, without making anything of it.
const (
	maxGobDepth = 100
	maxGobTypes = 1000
)

var (
	errGobShort = io.ErrUnexpectedEOF // as the decoder says
	errGobDeep  = fmt.Errorf("gob: more than %d levels", maxGobDepth)
	errGobMany  = fmt.Errorf("gob: more than %d elements of lists", maxItems)
	errGobTypes = fmt.Errorf("gob: more than %d types, or fields of one", maxGobTypes)
	errGobType  = errors.New("gob: a value of a type that the message does not define")
	errGobOwn   = errors.New("gob: a description of types is no argument")
	errGobIface = errors.New("gob: no method takes a value of an interface type")
)

// Types that every message knows, by their number.
const (
	gobBool      = 1
	gobInt       = 2
	gobUint      = 3
	gobFloat     = 4
	gobBytes     = 5
	gobString    = 6
	gobComplex   = 7
	gobInterface = 8

	gobFirstType = 64 // of those that a message defines; between are those that describe them
)

// gobType is a type that a message defines: a struct of fields, a list or map of elem (and key), or, with neither, the bytes of
// something that encodes itself.
type gobType struct {
	fields    []int64
	isStruct  bool
	elem, key int64 // 0: none
}

// gobCheck walks through a message. The first error stays, and ends every loop.
type gobCheck struct {
	b     []byte
	types map[int64]gobType
	items int
	err   error
}

// checkGob reports why the first value of b is not decoded. What it lets pass may still be refused by the decoder.
func checkGob(b []byte) error {
	c := gobCheck{b: b, types: map[int64]gobType{}}
	for c.err == nil {
		size := c.uint()
		if size > uint64(len(c.b)) {
			return errGobShort
		}
		rest := c.b[size:]
		c.b = c.b[:size]
		id := c.int()
		if id >= 0 {
			c.top(id)
			return c.err
		}
		c.define(-id)
		c.b = rest
	}
	return c.err
}

func (c *gobCheck) fail(err error) {
	if c.err == nil {
		c.err = err
		c.b = nil
	}
}

func (c *gobCheck) uint() uint64 {
	if len(c.b) == 0 {
		c.fail(errGobShort)
		return 0
	}
	first := c.b[0]
	c.b = c.b[1:]
	if first < 0x80 {
		return uint64(first)
	}
	n := -int(int8(first))
	if n > 8 || n > len(c.b) {
		c.fail(errGobShort)
		return 0
	}
	var v uint64
	for _, digit := range c.b[:n] {
		v = v<<8 | uint64(digit)
	}
	c.b = c.b[n:]
	return v
}

func (c *gobCheck) int() int64 {
	v := c.uint()
	if v&1 != 0 {
		return ^int64(v >> 1)
	}
	return int64(v >> 1)
}

func (c *gobCheck) skip() {
	n := c.uint()
	if n > uint64(len(c.b)) {
		c.fail(errGobShort)
		return
	}
	c.b = c.b[n:]
}

// fields calls each with the number of every field of a struct that is there.
func (c *gobCheck) fields(each func(number int)) {
	for number := -1; c.err == nil; {
		delta := c.uint()
		if delta == 0 || c.err != nil {
			return
		}
		if delta > math.MaxInt32 {
			c.fail(errGobTypes)
			return
		}
		number += int(delta)
		each(number)
	}
}

// define reads the definition of a type, a wireType of encoding/gob: a struct with one field set, which says what kind it is.
func (c *gobCheck) define(id int64) {
	if len(c.types) == maxGobTypes {
		c.fail(errGobTypes)
		return
	}
	var t gobType
	c.fields(func(kind int) {
		t.isStruct = t.isStruct || kind == 2
		c.fields(func(part int) {
			switch {
			case part == 0: // its name and number
				c.fields(func(field int) { c.nameOrNumber(field) })
			case part == 1 && kind == 2:
				t.fields = c.structFields()
			case part == 1 && kind == 3:
				t.key = c.int()
			case part == 1 && kind < 2, part == 2 && kind == 3:
				t.elem = c.int()
			case part == 2 && kind == 0:
				c.int() // the length of an array
			default:
				c.fail(errGobType)
			}
		})
	})
	c.types[id] = t
}

// nameOrNumber reads a field of what begins with a name and then has the number of a type, and returns that.
func (c *gobCheck) nameOrNumber(field int) (number int64) {
	switch field {
	case 0:
		c.skip()
	case 1:
		number = c.int()
	default:
		c.fail(errGobType)
	}
	return number
}

func (c *gobCheck) structFields() []int64 {
	count := c.uint()
	if count > maxGobTypes {
		c.fail(errGobTypes)
		return nil
	}
	types := make([]int64, 0, count)
	for range count {
		var t int64
		c.fields(func(field int) { t = max(t, c.nameOrNumber(field)) })
		types = append(types, t)
	}
	return types
}

// top reads the value itself. One that is no struct has a zero before it.
func (c *gobCheck) top(id int64) {
	if id > gobInterface && id < gobFirstType {
		c.fail(errGobOwn)
		return
	}
	if !c.types[id].isStruct && c.uint() != 0 {
		c.fail(errGobType)
		return
	}
	c.value(id, 0)
}

func (c *gobCheck) value(id int64, depth int) {
	if depth == maxGobDepth {
		c.fail(errGobDeep)
		return
	}
	switch id {
	case gobBool, gobInt, gobUint, gobFloat:
		c.uint()
		return
	case gobComplex:
		c.uint()
		c.uint()
		return
	case gobBytes, gobString:
		c.skip()
		return
	case gobInterface:
		c.fail(errGobIface)
		return
	}
	t, known := c.types[id]
	switch {
	case !known:
		c.fail(errGobType)
	case t.isStruct:
		c.fields(func(number int) {
			if number >= len(t.fields) {
				c.fail(errGobType)
				return
			}
			c.value(t.fields[number], depth+1)
		})
	case t.elem != 0:
		c.list(t, depth)
	default:
		c.skip() // what encodes itself is bytes
	}
}

func (c *gobCheck) list(t gobType, depth int) {
	count := c.uint()
	if count > uint64(maxItems-c.items) {
		c.fail(errGobMany)
		return
	}
	c.items += int(count)
	for i := uint64(0); i < count && c.err == nil; i++ {
		if t.key != 0 {
			c.value(t.key, depth+1)
		}
		c.value(t.elem, depth+1)
	}
}
