package meter

import (
	"errors"
	"fmt"
	"slices"
)

const (
	bytesPerFuelShift = 3  // bulk operations cost one unit for 8 bytes
	pageFuelShift     = 13 // and so does memory that is added, by pages of 64 KiB
)

// writeCode returns the content of the code section.
func (m *module) writeCode() ([]byte, error) {
	size := 0
	for _, body := range m.code {
		size += len(body.rest)
	}
	out := appendU32(make([]byte, 0, size+size/8), uint32(len(m.code)))
	var body []byte
	for i := range m.code {
		f, err := m.scan(i)
		if err != nil {
			return nil, m.inFunction(i, err)
		}
		w := writer{m: m, f: f, out: body[:0], cost: m.costs[i], cached: f.tight}
		w.function()
		if body = w.out; len(body) > maxFunctionSize {
			err := fmt.Errorf("the function has %d bytes once it counts; at most %d are allowed", len(body), maxFunctionSize)
			return nil, m.inFunction(i, err)
		}
		out = appendU32(out, uint32(len(body)))
		out = append(out, body...)
	}
	return out, nil
}

// inFunction adds section, offset and function to an error.
func (m *module) inFunction(index int, err error) error {
	offset := m.code[index].at
	var l located
	if errors.As(err, &l) {
		offset = l.at
	}
	return sectionError(sectionCode, offset, fmt.Errorf("function %d: %w", index+len(m.imported), err))
}

// writer writes one function anew.
type writer struct {
	m    *module
	f    *function
	out  []byte
	cost uint32 // what it takes of the stack; 0: it is not counted
	temp uint32 // index of the first added local variable: an i64, then two i32

	// cached says that the function keeps the fuel in a local variable, which becomes a register: a loop of a few
	// instructions would wait for memory otherwise. Around calls, and at the end, it is in the global.
	cached bool
}

func (w *writer) function() {
	if w.cost == 0 && w.f.free() {
		w.out = appendU32(w.out, uint32(w.f.groups))
		w.out = append(append(w.out, w.f.declared...), w.f.code.rest...)
		return
	}
	small := w.needsSmall()
	w.temp = uint32(len(w.f.typ.params)) + uint32(w.f.locals)
	groups := uint32(w.f.groups) + 1
	if small {
		groups++
	}
	w.out = appendU32(w.out, groups)
	w.out = append(w.out, w.f.declared...)
	w.out = append(w.out, 1, typeI64)
	if small {
		w.out = append(w.out, 2, typeI32)
	}

	edits, code, copied := w.f.edits, w.f.code.rest, int32(0)
	wrapped := w.cost > 0 || w.cached // in a block, so that there is one way out
	if wrapped {
		w.enter()
		w.edit(edits[0], code) // the charge of the beginning lies outside of the block
		edits = edits[1:]
		w.out = append(w.out, opBlock)
		w.out = append(w.out, w.m.resultBlock(w.f.typ)...)
	}
	for _, e := range edits {
		w.out = append(w.out, code[copied:e.at]...)
		w.edit(e, code)
		copied = e.end
	}
	w.out = append(w.out, code[copied:]...)
	if wrapped {
		w.leave()
		w.out = append(w.out, opEnd)
	}
}

// needsSmall reports whether the function needs the two i32.
func (w *writer) needsSmall() bool {
	bulk := func(e edit) bool { return e.kind == editBulk || e.kind == editMemoryGrow || e.kind == editTableGrow }
	return w.cost > 0 || slices.ContainsFunc(w.f.edits, bulk)
}

// resultBlock is the block type of a block that gives what the function gives.
func (m *module) resultBlock(t funcType) []byte {
	switch len(t.results) {
	case 0:
		return []byte{blockEmpty}
	case 1:
		return t.results
	}
	want := funcType{results: t.results}
	same := func(o funcType) bool { return o.key() == want.key() }
	if i := slices.IndexFunc(m.types, same); i >= 0 {
		return appendS64(nil, int64(i))
	}
	i := slices.IndexFunc(m.newTypes, same)
	if i < 0 {
		i = len(m.newTypes)
		m.newTypes = append(m.newTypes, want)
	}
	return appendS64(nil, int64(len(m.types)+i))
}

func (w *writer) edit(e edit, code []byte) {
	switch e.kind {
	case editCharge, editBack:
		w.chargeConst(w.f.segments[e.arg].price())
	case editEntry:
		place := code[e.at:e.end]
		w.out = append(append(w.out, place...), opI32Eqz)
		w.index(opBrIf, uint32(e.arg))
		w.out = append(w.out, place...)
	case editJump:
		w.index(opBr, uint32(e.arg))
	case editReturn:
		if w.cost == 0 && !w.cached {
			w.op(opReturn)
			return
		}
		w.index(opBr, uint32(e.arg))
	case editCall:
		w.store()
		w.out = append(w.out, code[e.at:e.end]...)
		w.load()
	case editBulk:
		size := w.temp + 1
		w.index(opLocalSet, size)
		w.charge(func() { w.extended(size, opI64ShrU, e.arg) })
		w.index(opLocalGet, size)
	case editMemoryGrow:
		w.grow(code[e.at:e.end], pageFuelShift, bytesPerPageShift)
	case editTableGrow:
		w.grow(code[e.at:e.end], 0, grownEntrySizeShift)
	}
}

// chargeConst takes n off the fuel.
func (w *writer) chargeConst(n uint32) {
	w.charge(func() {
		w.op(opI64Const)
		w.out = appendS64(w.out, int64(n))
	})
}

// charge takes off the fuel what amount puts on the stack.
func (w *writer) charge(amount func()) {
	fuel, left := uint32(w.m.globalsBase), w.temp
	if w.cached {
		w.index(opLocalGet, left)
	} else {
		w.index(opGlobalGet, fuel)
	}
	amount()
	w.op(opI64Sub)
	w.index(opLocalTee, left)
	if !w.cached {
		w.index(opGlobalSet, fuel)
		w.index(opLocalGet, left)
	}
	w.out = append(w.out, opI64Const, 0, opI64LtS, opIf, blockEmpty)
	w.store()
	w.out = append(w.out, opUnreachable, opEnd)
}

// load takes the fuel out of the global, store puts it back, if the function keeps it.
func (w *writer) load() {
	if w.cached {
		w.index(opGlobalGet, uint32(w.m.globalsBase))
		w.index(opLocalSet, w.temp)
	}
}

func (w *writer) store() {
	if w.cached {
		w.index(opLocalGet, w.temp)
		w.index(opGlobalSet, uint32(w.m.globalsBase))
	}
}

// extended puts a local number on the stack as 64 bits, shifted.
func (w *writer) extended(local uint32, shift byte, by int32) {
	w.index(opLocalGet, local)
	w.op(opI64ExtendU)
	if by > 0 {
		w.out = append(w.out, opI64Const, byte(by), shift)
	}
}

// grow charges for what was added, and notes when nothing was.
func (w *writer) grow(instruction []byte, shift int32, sizeShift byte) {
	wanted, result, denied := w.temp+1, w.temp+2, uint32(w.m.globalsBase)+2
	w.index(opLocalTee, wanted)
	w.withinLimit(wanted, sizeShift)
	w.out = append(w.out, instruction...)
	w.index(opLocalTee, result)
	w.out = append(w.out, opI32Const, 0x7f, opI32Ne, opIf, blockEmpty)
	w.charge(func() { w.extended(wanted, opI64Shl, shift) })
	if sizeShift == grownEntrySizeShift {
		w.noteTable(wanted)
	}
	w.out = append(w.out, opElse, opI32Const, 1)
	w.index(opGlobalSet, denied)
	w.op(opEnd)
	w.index(opLocalGet, result)
}

// enter takes the frame of the function off the stack.
func (w *writer) enter() {
	w.load()
	if w.cost == 0 {
		return
	}
	stack, left := uint32(w.m.globalsBase)+1, w.temp+1
	w.index(opGlobalGet, stack)
	w.op(opI32Const)
	w.out = appendS64(w.out, int64(w.cost))
	w.op(opI32Sub)
	w.index(opLocalTee, left)
	w.index(opGlobalSet, stack)
	w.index(opLocalGet, left)
	w.out = append(w.out, opI32Const, 0, opI32LtS, opIf, blockEmpty, opUnreachable, opEnd)
}

// leave gives it back.
func (w *writer) leave() {
	w.store()
	if w.cost == 0 {
		return
	}
	stack := uint32(w.m.globalsBase) + 1
	w.index(opGlobalGet, stack)
	w.op(opI32Const)
	w.out = appendS64(w.out, int64(w.cost))
	w.op(opI32Add)
	w.index(opGlobalSet, stack)
}

func (w *writer) op(code byte) { w.out = append(w.out, code) }

func (w *writer) index(code byte, index uint32) {
	w.out = appendU32(append(w.out, code), index)
}
