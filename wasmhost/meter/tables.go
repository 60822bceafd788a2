package meter

// The engine bounds linear memory by itself, and each table by its own maximum; that all of them together stay within one limit is
// counted here. Most modules have no code that grows a table: for them the host's arithmetic at the load is enough.

// What an entry of a table takes in the engine, in bytes. A table that grows moves, and is given room to grow again.
const (
	EntrySize      = 8
	GrownEntrySize = 16
)

const (
	opMemorySize = 0x3f
	opI64LeU     = 0x58
	opI64Add     = 0x7c

	bytesPerPageShift    = 16
	grownEntrySizeShift  = 4
	tablesBehindFuel     = 3    // index of edge.tables behind edge.fuel
	pastAnyLimit         = 0x7f // -1 as a constant: no memory and no table can grow by so much
	globalsWithoutTables = 3
)

// addedGlobals is how many globals the pass adds.
func (m *module) addedGlobals() int {
	if m.grows {
		return globalsWithoutTables + 1
	}
	return globalsWithoutTables
}

// readMemory notes whether there is a memory whose size code can ask for.
func (m *module) readMemory(r reader) error {
	n, err := r.u32()
	m.memory = m.memory || n > 0
	return err
}

// withinLimit leaves the number on the stack, which is in the local variable wanted too, if memory and tables may grow by that
// many of 1<<shift bytes, and puts one in its place otherwise with which the instruction behind fails.
func (w *writer) withinLimit(wanted uint32, shift byte) {
	if !w.m.grows || w.m.limit == 0 {
		return
	}
	w.out = append(w.out, opI32Const, pastAnyLimit)
	w.index(opGlobalGet, uint32(w.m.globalsBase)+tablesBehindFuel)
	if w.m.memory {
		w.out = append(w.out, opMemorySize, 0, opI64ExtendU, opI64Const, bytesPerPageShift, opI64Shl, opI64Add)
	}
	w.extended(wanted, opI64Shl, int32(shift))
	w.out = append(w.out, opI64Add, opI64Const)
	w.out = appendS64(w.out, int64(w.m.limit))
	w.out = append(w.out, opI64LeU, opSelect)
}

// noteTable adds to edge.tables what a table has grown by.
func (w *writer) noteTable(wanted uint32) {
	tables := uint32(w.m.globalsBase) + tablesBehindFuel
	w.index(opGlobalGet, tables)
	w.extended(wanted, opI64Shl, grownEntrySizeShift)
	w.op(opI64Add)
	w.index(opGlobalSet, tables)
}
