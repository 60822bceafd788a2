package wasmhost

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// What a module may have at most: the limits that web browsers agree on (WebAssembly JavaScript interface, implementation
// limits), so that toolchains stay below them anyway. Tables are smaller here: their entries are memory of the host, and
// count towards limits.memory (footprint.go).
const (
	maxItems        = 1_000_000 // of a section
	maxSignature    = 1_000     // parameters, and results
	maxLocals       = 50_000    // of a function
	maxFunctionSize = 7_654_321 // bytes
	maxTables       = 100
	maxTableEntries = 1_000_000 // of a table, and of all element segments together
)

// boundModule walks a module before the engine decodes it. The decoder makes room for as many items as a count says before
// it reads the first, so that a file of 15 bytes could ask for more memory than the machine has, which ends the process.
// The walk refuses every count that the bytes behind it cannot hold.
//
// It returns the module with a maximum on every table, since table.grow has no bound by itself, and without custom sections that say
// nothing, which the decoder stumbles over; and what an instance begins with.
//
// What it does not understand it refuses, so that it never disagrees with the decoder about where something begins: each
// section and each of its parts must end where it says that it ends.
func boundModule(module []byte) ([]byte, footprint, error) {
	out := append(make([]byte, 0, len(module)+64), module[:8]...)
	s := shape{}
	for rest := reader(module[8:]); len(rest) > 0; {
		start := rest
		id, err := rest.byte()
		if err != nil {
			return nil, footprint{}, err
		}
		content, err := rest.bytes()
		if err != nil {
			return nil, footprint{}, fmt.Errorf("%w: the %s section is cut off", errMalformed, sectionName(id))
		}
		tables, err := s.section(id, content)
		if err != nil {
			return nil, footprint{}, fmt.Errorf("%s section: %w", sectionName(id), err)
		}
		switch {
		case tables != nil:
			out = append(out, id)
			out = binary.AppendUvarint(out, uint64(len(tables)))
			out = append(out, tables...)
		case id == sectionCustom && reader(content).onlyName():
		default:
			out = append(out, start[:len(start)-len(rest)]...)
		}
	}
	return out, s.start, nil
}

// onlyName reports whether a custom section has nothing but its name.
func (r reader) onlyName() bool {
	_, err := r.bytes()
	return err == nil && len(r) == 0
}

func sectionName(id byte) string {
	names := [...]string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element",
		"code", "data", "data count"}
	if int(id) < len(names) {
		return names[id]
	}
	return strconv.Itoa(int(id)) + "th"
}

// shape is what counts across the sections of one module.
type shape struct {
	elements int
	start    footprint
}

// section walks one section. For the one of tables it returns what to put in its place.
func (s *shape) section(id byte, content reader) (tables []byte, err error) {
	r := content
	switch id {
	case sectionCustom:
		return nil, r.custom()
	case sectionTable:
		if tables, err = s.tables(&r); err != nil {
			return nil, err
		}
	case sectionStart, sectionDataCount:
		_, err = r.u32()
	case sectionType:
		err = r.vector(maxItems, 3, r.functionType)
	case sectionImport:
		err = r.vector(maxItems, 4, func() error {
			_, err := r.importKind()
			return err
		})
	case sectionFunction:
		err = r.vector(maxItems, 1, r.skipU32)
	case sectionMemory:
		err = r.vector(1, 2, func() error { return s.memory(&r) })
	case sectionGlobal:
		err = r.vector(maxItems, 4, func() error { return first(r.valueType, r.skipByte, r.constExpr) })
	case sectionExport:
		err = r.vector(maxItems, 3, func() error { return first(r.skipBytes, r.skipByte, r.skipU32) })
	case sectionElement:
		err = r.vector(maxItems, 2, func() error { return s.element(&r) })
	case sectionCode:
		err = r.vector(maxItems, 3, r.function)
	case sectionData:
		err = r.vector(maxItems, 2, r.data)
	case sectionTag:
		return nil, fmt.Errorf("%w: it belongs to a proposal that Edge does not run: exceptions; %s", errMalformed, withoutExceptions)
	default:
		return nil, fmt.Errorf("%w: there is no such section; is the file damaged?", errMalformed)
	}
	if err == nil && len(r) > 0 {
		err = fmt.Errorf("%w: %d bytes too many", errMalformed, len(r))
	}
	return tables, err
}

// first does one step after the other until one fails.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// count reads how many items follow, each of at least size bytes.
func (r *reader) count(most, size int) (int, error) {
	n, err := r.u32()
	if err != nil {
		return 0, err
	}
	if int64(n) > int64(most) {
		return 0, fmt.Errorf("%d items; at most %d are allowed", n, most)
	}
	if int(n) > len(*r)/size {
		return 0, fmt.Errorf("%w: %d items in %d bytes", errMalformed, n, len(*r))
	}
	return int(n), nil
}

func (r *reader) vector(most, size int, item func() error) error {
	n, err := r.count(most, size)
	for i := 0; i < n && err == nil; i++ {
		if err = item(); err != nil {
			err = fmt.Errorf("item %d: %w", i, err)
		}
	}
	return err
}

func (r *reader) skipU32() error {
	_, err := r.u32()
	return err
}

func (r *reader) skipByte() error {
	_, err := r.byte()
	return err
}

func (r *reader) skipBytes() error {
	_, err := r.bytes()
	return err
}

// valueType is a number, a vector or an abstract reference, one byte each.
func (r *reader) valueType() error {
	b, err := r.byte()
	switch {
	case err != nil:
		return err
	case b >= 0x7b && b <= 0x7f, b == 0x70, b == 0x6f: // v128 to i32, funcref, externref
		return nil
	}
	why := "garbage collection and typed references"
	if b == typeException {
		why = "exceptions; " + withoutExceptions
	}
	return fmt.Errorf("%w: value type %#x belongs to a proposal that Edge does not run: %s", errMalformed, b, why)
}

const (
	sectionTag        = 13
	typeException     = 0x69
	withoutExceptions = "build without -fwasm-exceptions (clang), with panic=abort (rustc)"
)

func (r *reader) functionType() error {
	form, err := r.byte()
	if err != nil {
		return err
	}
	if form != 0x60 {
		return fmt.Errorf("%w: type form %#x belongs to a proposal that Edge does not run (garbage collection?)", errMalformed, form)
	}
	return first(
		func() error { return r.vector(maxSignature, 1, r.valueType) },
		func() error { return r.vector(maxSignature, 1, r.valueType) },
	)
}

// memory walks a memory and notes the pages that it begins with.
func (s *shape) memory(r *reader) error {
	least := *r
	if err := r.limits(); err != nil {
		return err
	}
	pages := uint32(0)
	err := first(least.skipByte, func() (err error) { pages, err = least.u32(); return })
	s.start.pages += uint64(pages)
	return err
}

// tables returns the content of the section with a maximum for each.
func (s *shape) tables(r *reader) ([]byte, error) {
	n, err := r.count(maxTables, 3)
	if err != nil {
		return nil, err
	}
	out := binary.AppendUvarint(nil, uint64(n))
	for i := range n {
		kind, flags, least := byte(0), byte(0), uint32(0)
		most := uint32(maxTableEntries)
		err := first(
			func() (err error) { kind, err = r.byte(); return },
			func() (err error) { flags, err = r.byte(); return },
			func() (err error) { least, err = r.u32(); return },
		)
		if err == nil && flags == 1 {
			most, err = r.u32()
		}
		switch {
		case err != nil:
			return nil, err
		case kind != 0x70 && kind != 0x6f || flags > 1:
			return nil, fmt.Errorf("%w: table %d is of a proposal that Edge does not run", errMalformed, i)
		case least > most:
			return nil, fmt.Errorf("table %d begins with %d entries; at most %d are allowed", i, least, most)
		case least > maxTableEntries:
			return nil, fmt.Errorf("table %d has %d entries; at most %d are allowed", i, least, maxTableEntries)
		}
		s.start.tables++
		s.start.entries += uint64(least)
		out = append(out, kind, 1)
		out = binary.AppendUvarint(out, uint64(least))
		out = binary.AppendUvarint(out, uint64(min(most, maxTableEntries)))
	}
	return out, nil
}

// constExpr is what a global or an offset begins with.
func (r *reader) constExpr() error {
	for {
		op, err := r.byte()
		if err != nil {
			return err
		}
		switch op {
		case 0x0b: // end
			return nil
		case 0x41, 0x42, 0x23, 0xd2: // i32.const, i64.const, global.get, ref.func
			err = r.skipLEB()
		case 0x43: // f32.const
			_, err = r.take(4)
		case 0x44: // f64.const
			_, err = r.take(8)
		case 0xd0: // ref.null
			err = r.valueType()
		case 0xfd: // v128.const
			_, err = r.take(1 + 16)
		default:
			err = fmt.Errorf("%w: instruction %#x in a constant belongs to a proposal that Edge does not run", errMalformed, op)
		}
		if err != nil {
			return err
		}
	}
}

// skipLEB skips a LEB128 number of up to 64 bits, of either sign.
func (r *reader) skipLEB() error {
	for range 10 {
		b, err := r.byte()
		if err != nil || b < 0x80 {
			return err
		}
	}
	return errMalformed
}

// element walks a segment: bit 0 of its kind says passive or declared, bit 1 that a table or a kind is named, bit 2 that
// expressions follow instead of function indexes.
func (s *shape) element(r *reader) error {
	kind, err := r.u32()
	if err != nil {
		return err
	}
	if kind > 7 {
		return fmt.Errorf("%w: element segment of kind %d", errMalformed, kind)
	}
	active, expressions := kind&1 == 0, kind&4 != 0
	if active && kind&2 != 0 {
		err = r.skipU32() // table
	}
	if err == nil && active {
		err = r.constExpr() // offset
	}
	if err == nil && kind&3 != 0 {
		err = r.skipByte() // element kind or type
	}
	if err != nil {
		return err
	}
	item, size := r.skipU32, 1
	if expressions {
		item, size = r.constExpr, 2
	}
	passive := kind&3 == 1
	return r.vector(maxTableEntries, size, func() error {
		if passive {
			s.start.entries++
		}
		if s.elements++; s.elements > maxTableEntries {
			return fmt.Errorf("the element segments have more than %d entries", maxTableEntries)
		}
		return item()
	})
}

// function walks the body of one function up to its code.
func (r *reader) function() error {
	content, err := r.bytes()
	if err != nil {
		return err
	}
	if len(content) > maxFunctionSize {
		return fmt.Errorf("the function has %d bytes; at most %d are allowed", len(content), maxFunctionSize)
	}
	body, locals := reader(content), uint64(0)
	return body.vector(maxLocals, 2, func() error {
		n, err := body.u32()
		if err != nil {
			return err
		}
		if locals += uint64(n); locals > maxLocals {
			return fmt.Errorf("the function has %d local variables; at most %d are allowed", locals, maxLocals)
		}
		return body.valueType()
	})
}

func (r *reader) data() error {
	kind, err := r.u32()
	if err == nil && kind == 2 {
		err = r.skipU32() // memory
	}
	if err == nil && kind != 1 {
		err = r.constExpr() // offset
	}
	if err == nil && kind > 2 {
		err = fmt.Errorf("%w: data segment of kind %d", errMalformed, kind)
	}
	if err != nil {
		return err
	}
	return r.skipBytes()
}

// custom walks the one custom section that the decoder looks into: the names of functions and their local variables.
func (r *reader) custom() error {
	name, err := r.bytes()
	if err != nil || string(name) != "name" {
		return err
	}
	for len(*r) > 0 {
		id, err := r.byte()
		if err != nil {
			return err
		}
		content, err := r.bytes()
		if err != nil {
			return err
		}
		part := reader(content)
		nameMap := func() error {
			return part.vector(len(part), 2, func() error { return first(part.skipU32, part.skipBytes) })
		}
		switch id {
		case 0:
			err = part.skipBytes()
		case 1:
			err = nameMap()
		case 2:
			err = part.vector(len(part), 2, func() error { return first(part.skipU32, nameMap) })
		default:
			continue
		}
		if err == nil && len(part) > 0 {
			err = errMalformed
		}
		if err != nil {
			return fmt.Errorf("names of kind %d: %w", id, err)
		}
	}
	return nil
}
