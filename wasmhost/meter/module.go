package meter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Section ids of the binary format.
const (
	sectionCustom    = 0
	sectionType      = 1
	sectionImport    = 2
	sectionFunction  = 3
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionElement   = 9
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
)

const (
	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
)

func sectionName(id byte) string {
	names := [...]string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element",
		"code", "data", "data count"}
	if int(id) < len(names) {
		return names[id]
	}
	return strconv.Itoa(int(id)) + "th"
}

// order is where a section stands in a module; the data count comes before the code.
func order(id byte) int {
	switch id {
	case sectionDataCount:
		return 2*sectionElement + 1
	default:
		return 2 * int(id)
	}
}

// module is what the pass needs to know of one.
type module struct {
	sections []section

	types       []funcType
	imported    []uint32 // types of the imported functions
	defined     []uint32 // types of the others
	globals     int      // imported and defined
	mutable     []Global // defined ones
	exports     int
	start       uint32
	hasStart    bool
	code        []reader        // bodies, locals included
	escaping    map[uint32]bool // functions that a table may hold
	newTypes    []funcType      // to be added behind the others
	costs       []uint32        // by defined function: what it takes of the stack, 0 if it need not be counted
	tables      bool
	grows       bool   // some code grows a table
	memory      bool   // there is one
	limit       uint64 // of Options
	entries     uint64
	globalsBase int // index of edge.fuel; the others follow
}

type section struct {
	id      byte
	content reader
}

type funcType struct{ params, results []byte }

func (t funcType) key() string { return string(t.params) + ">" + string(t.results) }

// parse reads all sections but the code.
func parse(bytes []byte) (*module, error) {
	if len(bytes) < 8 {
		return nil, errors.New("malformed: it ends within the header")
	}
	m := &module{escaping: map[uint32]bool{}}
	last := 0
	for r := (reader{bytes[8:], 8}); len(r.rest) > 0; {
		start := r.at
		id, err := r.byte()
		if err != nil {
			return nil, err
		}
		content, err := r.sized()
		if err != nil {
			return nil, sectionError(id, start, err)
		}
		if id > sectionDataCount {
			return nil, sectionError(id, start, errors.New("it belongs to a proposal that Edge does not run"))
		}
		if id != sectionCustom {
			if order(id) <= last {
				return nil, sectionError(id, start, errors.New("malformed: it is not where it belongs"))
			}
			last = order(id)
		}
		m.sections = append(m.sections, section{id, content})
		if err := m.section(id, content); err != nil {
			var l located
			if errors.As(err, &l) {
				start = l.at
			}
			return nil, sectionError(id, start, err)
		}
	}
	if len(m.code) != len(m.defined) {
		return nil, fmt.Errorf("malformed: %d functions are declared and %d have code", len(m.defined), len(m.code))
	}
	if m.hasStart {
		if t, err := m.signature(m.start); err != nil || len(t.params)+len(t.results) > 0 {
			return nil, fmt.Errorf("malformed: function %d cannot be the start function", m.start)
		}
	}
	m.globalsBase = m.globals
	return m, nil
}

func (m *module) section(id byte, r reader) error {
	switch id {
	case sectionType:
		return m.items(&r, 3, m.readType)
	case sectionImport:
		return m.items(&r, 4, m.readImport)
	case sectionFunction:
		return m.items(&r, 1, m.readFunction)
	case sectionMemory:
		return m.readMemory(r)
	case sectionGlobal:
		return m.items(&r, 4, m.readGlobal)
	case sectionExport:
		return m.items(&r, 3, m.readExport)
	case sectionStart:
		f, err := r.u32()
		m.start, m.hasStart = f, true
		return err
	case sectionElement:
		return m.items(&r, 2, m.readElement)
	case sectionCode:
		return m.items(&r, 1, m.readCode)
	}
	return nil
}

// items reads a vector that fills its section.
func (m *module) items(r *reader, size int, read func(*reader) error) error {
	n, err := r.count(size)
	if err != nil {
		return err
	}
	for i := range n {
		start := r.at
		if err := read(r); err != nil {
			return at(start, fmt.Errorf("item %d: %w", i, err))
		}
	}
	if len(r.rest) > 0 {
		return at(r.at, fmt.Errorf("malformed: %d bytes too many", len(r.rest)))
	}
	return nil
}

func (m *module) readType(r *reader) error {
	form, err := r.byte()
	if err != nil {
		return err
	}
	if form != 0x60 {
		return fmt.Errorf("type form %#x belongs to a proposal that Edge does not run", form)
	}
	var t funcType
	for _, list := range []*[]byte{&t.params, &t.results} {
		n, err := r.count(1)
		if err != nil {
			return err
		}
		if *list, err = r.take(n); err != nil {
			return err
		}
	}
	m.types = append(m.types, t)
	return nil
}

func (m *module) readImport(r *reader) error {
	for range 2 {
		if _, err := r.sized(); err != nil {
			return err
		}
	}
	kind, err := r.byte()
	if err != nil {
		return err
	}
	switch kind {
	case kindFunction:
		t, err := m.typeIndex(r)
		m.imported = append(m.imported, t)
		return err
	case kindTable, kindMemory:
		m.memory = m.memory || kind == kindMemory
		if kind == kindTable {
			if _, err := r.byte(); err != nil {
				return err
			}
		}
		flags, err := r.byte()
		if err == nil {
			_, err = r.u32()
		}
		if err == nil && flags&1 != 0 {
			_, err = r.u32()
		}
		return err
	case kindGlobal:
		m.globals++
		_, err = r.take(2)
		return err
	}
	return fmt.Errorf("an import of kind %d belongs to a proposal that Edge does not run", kind)
}

func (m *module) typeIndex(r *reader) (uint32, error) {
	t, err := r.u32()
	if err == nil && int64(t) >= int64(len(m.types)) {
		err = fmt.Errorf("malformed: type %d of %d", t, len(m.types))
	}
	return t, err
}

func (m *module) readFunction(r *reader) error {
	t, err := m.typeIndex(r)
	m.defined = append(m.defined, t)
	return err
}

func (m *module) readGlobal(r *reader) error {
	typ, err := r.take(2)
	if err != nil {
		return err
	}
	if typ[1] == 1 {
		m.mutable = append(m.mutable, Global{
			Export: Prefix + "global." + strconv.Itoa(m.globals), Index: uint32(m.globals), Type: typ[0],
		})
	}
	err = m.constExpr(r) // it may use those before it
	m.globals++
	return err
}

func (m *module) readExport(r *reader) error {
	name, err := r.sized()
	if err != nil {
		return err
	}
	if reserved(string(name.rest)) {
		return fmt.Errorf("export %q: names that begin with %q are the host's; rename it", name.rest, Prefix)
	}
	kind, err := r.byte()
	if err != nil {
		return err
	}
	index, err := r.u32()
	if err == nil && kind == kindGlobal && int64(index) >= int64(m.globals) {
		err = fmt.Errorf("malformed: global %d of %d", index, m.globals)
	}
	m.exports++
	return err
}

// constExpr reads a constant expression and notes the functions that it makes references of.
func (m *module) constExpr(r *reader) error {
	for {
		start := r.at
		code, err := r.byte()
		if err != nil {
			return err
		}
		switch code {
		case opEnd:
			return nil
		case opI32Const:
			err = r.skipLEB(5)
		case opI64Const:
			err = r.skipLEB(10)
		case opGlobalGet:
			var g uint32
			if g, err = r.u32(); err == nil && int64(g) >= int64(m.globals) {
				err = fmt.Errorf("malformed: global %d of %d", g, m.globals)
			}
		case opRefFunc:
			var f uint32
			f, err = r.u32()
			m.escaping[f] = true
		case 0x43:
			_, err = r.take(4)
		case 0x44:
			_, err = r.take(8)
		case 0xd0:
			_, err = r.byte()
		case opVector:
			var second uint32
			if second, err = r.u32(); err == nil && second != 12 {
				return at(start, unknownOp(code, second))
			}
			if err == nil {
				_, err = r.take(16)
			}
		default:
			return at(start, fmt.Errorf("instruction %#02x in a constant belongs to a proposal that Edge does not run", code))
		}
		if err != nil {
			return at(start, err)
		}
	}
}

// readElement reads a segment: bit 0 of its kind says passive or declared, bit 1 that a table or a kind is named, bit 2
// that expressions follow instead of function indexes.
func (m *module) readElement(r *reader) error {
	kind, err := r.u32()
	if err != nil {
		return err
	}
	if kind > 7 {
		return fmt.Errorf("malformed: a segment of kind %d", kind)
	}
	active, expressions := kind&1 == 0, kind&4 != 0
	if active && kind&2 != 0 {
		_, err = r.u32() // table
	}
	if err == nil && active {
		err = m.constExpr(r)
	}
	if err == nil && kind&3 != 0 {
		_, err = r.byte() // element kind or type
	}
	if err != nil {
		return err
	}
	n, err := r.count(1)
	for range n {
		if err != nil {
			break
		}
		if expressions {
			err = m.constExpr(r)
			continue
		}
		var f uint32
		f, err = r.u32()
		m.escaping[f] = true
	}
	return err
}

func (m *module) readCode(r *reader) error {
	body, err := r.sized()
	m.code = append(m.code, body)
	return err
}

// signature returns the type of a function by its index.
func (m *module) signature(f uint32) (funcType, error) {
	all := int64(len(m.imported) + len(m.defined))
	switch {
	case int64(f) < int64(len(m.imported)):
		return m.types[m.imported[f]], nil
	case int64(f) < all:
		return m.types[m.defined[f-uint32(len(m.imported))]], nil
	}
	return funcType{}, fmt.Errorf("malformed: function %d of %d", f, all)
}

// write puts the rewritten module together.
func (m *module) write(opts Options) ([]byte, Info, error) {
	info := Info{Start: m.hasStart, ChangesTables: m.tables, GrowsTables: m.grows}
	if opts.Globals {
		if len(m.mutable) > maxGlobals {
			return nil, Info{}, fmt.Errorf("the module has %d mutable globals; at most %d are allowed", len(m.mutable), maxGlobals)
		}
		info.Globals = m.mutable
	}
	for _, cost := range m.costs {
		if cost > 0 {
			info.Recursive++
		}
	}
	code, err := m.writeCode() // first, since it may need new types
	if err != nil {
		return nil, Info{}, err
	}

	out := []byte("\x00asm\x01\x00\x00\x00")
	add := func(id byte, content []byte) {
		out = append(out, id)
		out = appendU32(out, uint32(len(content)))
		out = append(out, content...)
	}
	globals, exports := false, false
	addMissing := func(next int) {
		if !globals && next > order(sectionGlobal) {
			add(sectionGlobal, m.withGlobals(reader{rest: []byte{0}}))
			globals = true
		}
		if !exports && next > order(sectionExport) {
			add(sectionExport, m.withExports(reader{rest: []byte{0}}, info))
			exports = true
		}
	}
	for _, s := range m.sections {
		if s.id != sectionCustom {
			if s.id == sectionGlobal {
				globals = true
			}
			if s.id == sectionExport {
				addMissing(order(sectionExport))
				exports = true
			}
			addMissing(order(s.id))
		}
		switch s.id {
		case sectionCustom:
			if keepCustom(s.content) {
				add(s.id, s.content.rest)
			}
		case sectionType:
			add(s.id, m.withTypes(s.content))
		case sectionGlobal:
			add(s.id, m.withGlobals(s.content))
		case sectionExport:
			add(s.id, m.withExports(s.content, info))
		case sectionStart:
		case sectionCode:
			add(s.id, code)
		default:
			add(s.id, s.content.rest)
		}
	}
	addMissing(1 << 10)
	return out, info, nil
}

// keepCustom drops the sections that hold offsets into code, which are wrong now: what debuggers read, source maps and
// branch hints. The names of functions stay true, as nothing changes its index.
func keepCustom(r reader) bool {
	name, err := r.sized()
	if err != nil {
		return false
	}
	for _, prefix := range []string{".debug_", "sourceMappingURL", "external_debug_info", "reloc.", "linking", "metadata.code."} {
		if strings.HasPrefix(string(name.rest), prefix) {
			return false
		}
	}
	return true
}

// more copies a section's items, and says that there are added more of them.
func more(r reader, added int) []byte {
	n, _ := r.u32() // was read before
	out := appendU32(make([]byte, 0, len(r.rest)+64), n+uint32(added))
	return append(out, r.rest...)
}

func (m *module) withTypes(r reader) []byte {
	out := more(r, len(m.newTypes))
	for _, t := range m.newTypes {
		out = append(out, 0x60)
		out = appendU32(out, uint32(len(t.params)))
		out = append(out, t.params...)
		out = appendU32(out, uint32(len(t.results)))
		out = append(out, t.results...)
	}
	return out
}

func (m *module) withGlobals(r reader) []byte {
	out := more(r, m.addedGlobals())
	out = append(out, typeI64, 1, opI64Const, 0, opEnd)
	out = append(out, typeI32, 1, opI32Const, 0, opEnd)
	out = append(out, typeI32, 1, opI32Const, 0, opEnd)
	if m.grows {
		out = append(out, typeI64, 1, opI64Const)
		out = append(appendS64(out, int64(m.entries*GrownEntrySize)), opEnd)
	}
	return out
}

func (m *module) withExports(r reader, info Info) []byte {
	added := m.addedGlobals() + len(info.Globals)
	if m.hasStart {
		added++
	}
	out := more(r, added)
	export := func(name string, kind byte, index uint32) {
		out = appendName(out, name)
		out = append(out, kind)
		out = appendU32(out, index)
	}
	for i, name := range []string{Fuel, Stack, Denied, Tables}[:m.addedGlobals()] {
		export(name, kindGlobal, uint32(m.globalsBase+i))
	}
	if m.hasStart {
		export(Start, kindFunction, m.start)
	}
	for _, g := range info.Globals {
		export(g.Export, kindGlobal, g.Index)
	}
	return out
}
