package meter_test

import "encoding/binary"

// generated is a module made of random bytes: valid, and ending after a bounded time, whatever they are. It exports
// "run" (i32, i32) -> i32, its memory, and its globals "g0" and "g1".
//
// Function n calls functions below n, and itself while its first parameter, which falls with each call, is above 0.
type generator struct {
	seed  []byte
	out   []byte
	self  uint32 // index of the function
	open  []byte // 'b' or 'l' for each block that is open, innermost last
	size  int
	calls int
}

const (
	i32Type = 0x7f
	i64Type = 0x7e

	// local variables of each function: two parameters, three numbers, a counter for each loop, a 64-bit number
	parameters = 2
	numbers    = 3
	counters   = 4
	wide       = parameters + numbers + counters
)

func (g *generator) next() byte {
	if len(g.seed) == 0 {
		return 0
	}
	b := g.seed[0]
	g.seed = g.seed[1:]
	return b
}

func (g *generator) op(code ...byte) { g.out = append(g.out, code...) }

func (g *generator) constant(v int64) {
	g.op(0x41)
	g.out = appendSigned(g.out, v)
}

func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// address puts an address below 32 KiB on the stack.
func (g *generator) address(depth int) {
	g.number(depth)
	g.constant(0x7fff)
	g.op(0x71)
}

// number puts an i32 on the stack.
func (g *generator) number(depth int) {
	if depth > 4 || len(g.seed) == 0 {
		g.op(0x20, g.next()%(parameters+numbers))
		return
	}
	switch g.next() % 16 {
	case 0, 1:
		g.op(0x20, g.next()%(parameters+numbers))
	case 2:
		g.constant(int64(int8(g.next())) * 77)
	case 3, 4, 5:
		g.number(depth + 1)
		g.number(depth + 1)
		operations := []byte{0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x75, 0x46, 0x48, 0x4b, 0x77}
		g.op(operations[int(g.next())%len(operations)])
	case 6:
		g.number(depth + 1)
		g.op([]byte{0x45, 0x67, 0x69, 0xc0, 0xc1}[g.next()%5])
	case 7: // a division, which may trap
		g.number(depth + 1)
		g.number(depth + 1)
		if g.next()%16 != 0 {
			g.constant(0x101)
			g.op(0x72)
		}
		g.op([]byte{0x6d, 0x6e, 0x70}[g.next()%3])
	case 8:
		g.address(depth + 1)
		g.op(0x28, 2, 16)
	case 9:
		g.op(0x23, g.next()%2)
	case 10:
		g.number(depth + 1)
		g.number(depth + 1)
		g.number(depth + 1)
		g.op(0x1b)
	case 11: // a block with a value
		g.op(0x02, i32Type)
		g.number(depth + 1)
		g.number(depth + 1)
		g.op(0x0d, 0, 0x0b)
	case 12: // an if with values
		g.number(depth + 1)
		g.op(0x04, i32Type)
		g.number(depth + 1)
		g.op(0x05)
		g.number(depth + 1)
		g.op(0x0b)
	case 13:
		g.call(depth)
	case 14: // through 64 bits, floating point and vectors
		g.number(depth + 1)
		g.op(0xac, 0x22, wide, 0xb9, 0xb6, 0xfc, 0x00) // i64.extend, local.tee, f64.convert, f32.demote, trunc_sat
		g.op(0xfd, 17)                                 // i32x4.splat
		g.op(0x20, wide, 0xfd, 18)                     // i64x2.splat
		g.op(0xfd, 0xae, 0x01, 0xfd, 27, g.next()%4)   // i32x4.add, extract_lane
	case 15: // how large memory and table are
		g.op(0x3f, 0, 0xfc, 16, 0)
		g.constant(3)
		g.op(0x74, 0x6a)
	}
}

// call calls a function below this one, directly or through the table, or itself.
func (g *generator) call(depth int) {
	kind := g.next()
	if g.calls++; g.calls > 3 || len(g.open) > 2 { // or the time would grow without a bound
		g.op(0x20, kind%(parameters+numbers))
		return
	}
	if kind%3 == 0 || g.self == 0 { // itself, with less
		g.op(0x20, 0)
		g.constant(0)
		g.op(0x4a, 0x04, i32Type) // > 0
		g.op(0x20, 0)
		g.constant(1)
		g.op(0x6b)
		g.number(depth + 1)
		g.op(0x10, byte(g.self), 0x05)
		g.number(depth + 1)
		g.op(0x0b)
		return
	}
	callee := uint32(kind) % g.self
	g.constant(int64(g.next() % 3))
	g.number(depth + 1)
	if kind%3 == 1 {
		g.op(0x10, byte(callee))
		return
	}
	g.constant(int64(callee))
	g.op(0x11, 0, 0) // the table has the functions in order
}

// statements writes some, which leave nothing on the stack.
func (g *generator) statements(depth int) {
	for range g.next() % 6 {
		if len(g.out)-g.size > 2000 || len(g.seed) == 0 {
			return
		}
		g.statement(depth)
	}
}

func (g *generator) statement(depth int) {
	kind := g.next() % 16
	if depth > 3 {
		kind %= 7
	}
	switch kind {
	case 0, 1:
		g.number(0)
		g.op(0x21, parameters+g.next()%numbers)
	case 2:
		g.address(0)
		g.number(0)
		g.op(0x36, 2, 16)
	case 3:
		g.number(0)
		g.op(0x24, g.next()%2)
	case 4:
		g.number(0)
		g.op(0x1a)
	case 5: // leave a block, perhaps
		if label, ok := g.label(); ok {
			g.number(0)
			g.op(0x0d, label)
		}
	case 6:
		g.address(0)
		if g.next()%16 == 1 {
			g.number(1)
		} else {
			g.address(1)
		}
		g.constant(int64(g.next()) * 40)
		if g.next()%2 == 0 {
			g.op(0xfc, 11, 0)
		} else {
			g.op(0xfc, 10, 0, 0)
		}
	case 7:
		g.op(0x02, 0x40)
		g.block('b', depth)
	case 8, 9, 10:
		g.number(0)
		g.op(0x04, 0x40)
		g.open = append(g.open, 'b')
		g.statements(depth + 1)
		if g.next()%2 == 0 {
			g.op(0x05)
			g.statements(depth + 1)
		}
		g.open = g.open[:len(g.open)-1]
		g.op(0x0b)
	case 11, 12: // a loop of at most seven rounds
		counter := byte(parameters + numbers + depth%counters)
		g.constant(int64(g.next()%7) + 1)
		g.op(0x21, counter, 0x03, 0x40)
		g.open = append(g.open, 'l')
		g.statements(depth + 1)
		g.open = g.open[:len(g.open)-1]
		g.op(0x20, counter)
		g.constant(1)
		g.op(0x6b, 0x22, counter)
		g.constant(0)
		g.op(0x4a, 0x0d, 0, 0x0b)
	case 13:
		if g.next()%2 == 0 {
			g.dispatch(depth)
			return
		}
		// a switch
		g.op(0x02, 0x40, 0x02, 0x40, 0x02, 0x40)
		g.number(0)
		g.op(0x0e, 2, 0, 1, 2, 0x0b)
		g.open = append(g.open, 'b', 'b')
		g.statements(depth + 1)
		g.op(0x0c, 1, 0x0b)
		g.open = g.open[:len(g.open)-1]
		g.statements(depth + 1)
		g.open = g.open[:len(g.open)-1]
		g.op(0x0b)
	case 14:
		g.number(0)
		g.op(0x04, 0x40)
		g.number(1)
		g.op(0x0f, 0x0b) // return
	case 15:
		n := g.next()
		if n%2 == 1 {
			g.op(0xd0, 0x70)
		}
		g.constant(int64(n / 2 % 3))
		if n%2 == 1 {
			g.op(0xfc, 15, 0, 0x1a) // table.grow, drop
		} else {
			g.op(0x40, 0, 0x1a) // memory.grow, drop
		}
	}
}

// dispatch is a loop around a jump table, as each function of Go is one: places that go to others by a number in a local variable.
// A counter ends it. The labels in open are of blocks: to leave one goes to some place.
func (g *generator) dispatch(depth int) {
	counter := byte(parameters + numbers + depth%counters)
	place := parameters + g.next()%numbers
	jump := place
	if g.next()%4 == 0 { // as in Go; but the first parameter is not to change, or the recursion would not end
		place = 0
	}
	places := 2 + g.next()%4
	g.constant(int64(g.next()%5) + 1)
	g.op(0x21, counter, 0x02, 0x40, 0x03, 0x40)
	for range places {
		g.op(0x02, 0x40)
	}
	g.op(0x20, place, 0x0e, places)
	for range places {
		g.op(g.next() % places)
	}
	g.op(places+1, 0x0b) // all other numbers: out of the loop
	g.open = append(g.open, 'b', 'l')
	for range places - 1 {
		g.open = append(g.open, 'b')
	}
	for n := range places {
		g.statements(depth + 1)
		open := places - 1 - n // doors
		if kind := g.next() % 8; kind > 0 {
			g.op(0x20, counter) // nobody goes round for ever
			g.constant(1)
			g.op(0x6b, 0x22, counter)
			g.constant(0)
			g.op(0x4c, 0x0d, open+1) // <= 0: out
			g.number(0)
			g.op(0x04, 0x40)
			g.constant(int64(g.next() % (places + 1)))
			g.op(0x21, []byte{jump, jump, jump, parameters}[kind%4], 0x0c, open+1, 0x0b)
		}
		if open > 0 {
			g.open = g.open[:len(g.open)-1]
			g.op(0x0b)
		}
	}
	g.open = g.open[:len(g.open)-2]
	g.op(0x0b, 0x0b)
}

func (g *generator) block(kind byte, depth int) {
	g.open = append(g.open, kind)
	g.statements(depth + 1)
	g.open = g.open[:len(g.open)-1]
	g.op(0x0b)
}

// label picks a block to leave; a loop would begin again.
func (g *generator) label() (byte, bool) {
	if len(g.open) == 0 {
		return 0, false
	}
	n := int(g.next()) % len(g.open)
	return byte(n), g.open[len(g.open)-1-n] == 'b'
}

const functions = 4

func generate(seed []byte) []byte {
	g := &generator{}
	part := len(seed) / functions
	code := []byte{functions}
	for n := range functions {
		g.seed = seed[n*part : (n+1)*part]
		g.out, g.open, g.self, g.calls = nil, nil, uint32(n), 0
		g.op(2, numbers+counters, i32Type, 1, i64Type)
		g.statements(0)
		g.number(0)
		g.op(0x0b)
		code = append(binary.AppendUvarint(code, uint64(len(g.out))), g.out...)
	}
	module := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, content []byte) {
		module = append(module, id)
		module = append(binary.AppendUvarint(module, uint64(len(content))), content...)
	}
	section(1, []byte{1, 0x60, 2, i32Type, i32Type, 1, i32Type})
	section(3, []byte{functions, 0, 0, 0, 0})
	section(4, []byte{1, 0x70, 0, functions})
	section(5, []byte{1, 1, 1, 3})
	section(6, []byte{2, i32Type, 1, 0x41, 5, 0x0b, i32Type, 1, 0x41, 7, 0x0b})
	section(7, []byte("\x04\x03run\x00\x03\x06memory\x02\x00\x02g0\x03\x00\x02g1\x03\x01"))
	section(9, []byte{1, 0, 0x41, 0, 0x0b, functions, 0, 1, 2, 3})
	section(10, code)
	return module
}
