package meter

import (
	"errors"
	"fmt"
)

const (
	maxNesting = 100_000 // of blocks
	maxFrame   = 1 << 28 // bytes
)

// function is what a scan finds in one.
type function struct {
	typ      funcType
	locals   uint64 // declared; parameters come before them
	groups   int    // of declared locals
	declared []byte // those groups
	cells    uint64 // what parameters, results and locals take on the native stack, in words
	code     reader // behind the locals

	segments []segment
	edits    []edit

	calls    []uint32 // functions that it calls
	indirect []uint32 // types of those that it calls through tables
	tight    bool     // has a loop without calls
	highest  int      // of the operand stack
	vectors  bool     // has operands of two words
}

type editKind uint8

const (
	editCharge     editKind = iota // before at: charge segment arg
	editReturn                     // instead of return: leave arg blocks
	editJump                       // instead of a branch to a loop: leave arg blocks (see dispatch.go)
	editBack                       // before at, a branch to the loop of segment arg: charge it
	editEntry                      // instead of what puts the number of a jump table on the stack: leave arg blocks if it is 0
	editBulk                       // before at: charge for the number on the stack, shifted right by arg
	editCall                       // around the instruction
	editMemoryGrow                 // around the instruction
	editTableGrow                  // around the instruction
)

type edit struct {
	at, end int32 // in code: what lies between is replaced
	kind    editKind
	arg     int32
}

// frame is an open block.
type frame struct {
	code     byte
	segment  int32 // in which it was opened
	base     int   // height of the stack below its parameters
	params   int
	results  int
	deadCode bool
	calls    bool      // there is a call in it
	own      int32     // the segment that begins with it, of loops
	dispatch *dispatch // of loops that begin with one
	doorOf   *dispatch // of blocks of such a loop's beginning
}

// scanner walks the instructions of a function.
type scanner struct {
	m       *module
	f       *function
	r       reader
	start   int // offset of the code in the module
	frames  []frame
	current int32 // segment
	height  int
	jump    jump // the last number that was put into a variable
	got     got  // the last variable that was read
	doors   int  // blocks ahead that belong to doorsOf
	doorsOf *dispatch
}

// scan reads a function's body. It may be called again for the same function: nothing of what it finds is kept, since that
// would take many times the module's memory.
func (m *module) scan(index int) (*function, error) {
	f := &function{typ: m.types[m.defined[index]]}
	body := m.code[index]
	if err := f.readLocals(&body); err != nil {
		return nil, at(body.at, err)
	}
	f.code = body
	s := &scanner{m: m, f: f, r: body, start: body.at}
	s.open(frame{code: opBlock, results: len(f.typ.results)})
	s.begin(-1)
	for len(s.frames) > 0 {
		if err := s.instruction(); err != nil {
			return nil, err
		}
	}
	if len(s.r.rest) > 0 {
		return nil, at(s.r.at, fmt.Errorf("malformed: %d bytes behind the end of the function", len(s.r.rest)))
	}
	f.settle()
	return f, nil
}

func (f *function) readLocals(r *reader) error {
	var err error
	if f.groups, err = r.count(2); err != nil {
		return err
	}
	f.cells = words(f.typ.params) + words(f.typ.results)
	all, begin := r.rest, r.at
	for range f.groups {
		n, err := r.u32()
		if err != nil {
			return err
		}
		typ, err := r.byte()
		if err != nil {
			return err
		}
		f.locals += uint64(n)
		f.cells += uint64(n) * words([]byte{typ})
	}
	f.declared = all[:r.at-begin]
	if f.locals > 50_000 {
		return fmt.Errorf("the function has %d local variables; at most 50000 are allowed", f.locals)
	}
	return nil
}

// words is what values of these types take on the native stack.
func words(types []byte) (n uint64) {
	for _, t := range types {
		n++
		if t == typeV128 {
			n++
		}
	}
	return n
}

// frameSize estimates the bytes of the function's native frame, as if every value had to be kept in it.
func (f *function) frameSize() uint64 {
	operands := uint64(f.highest)
	if f.vectors {
		operands *= 2
	}
	return 8*(f.cells+operands) + frameBase
}

// frameBase is what a frame takes besides values: return address, frame pointer, saved registers.
const frameBase = 96

func (s *scanner) offset() int32 { return int32(s.r.at - s.start) }

// begin starts a segment here.
func (s *scanner) begin(parent int32) {
	s.current = int32(len(s.f.segments))
	s.f.segments = append(s.f.segments, segment{parent: parent})
	s.edit(s.r.at, editCharge, s.current)
}

// edit notes a change of what lies between from and here, offsets in the module.
func (s *scanner) edit(from int, kind editKind, arg int32) {
	s.f.edits = append(s.f.edits, edit{at: int32(from - s.start), end: s.offset(), kind: kind, arg: arg})
}

func (s *scanner) open(f frame) {
	f.segment = s.current
	f.base = s.height - f.params
	s.frames = append(s.frames, f)
}

func (s *scanner) top() *frame { return &s.frames[len(s.frames)-1] }

// push changes the height of the operand stack.
func (s *scanner) push(n int) {
	s.height += n
	if base := s.top().base; s.height < base { // below unreachable code there is whatever is needed
		s.height = base
	}
	s.f.highest = max(s.f.highest, s.height)
}

// charge adds to the segment; code that is never reached costs nothing.
func (s *scanner) charge(weight uint32) {
	if !s.top().deadCode {
		s.f.segments[s.current].weight += weight
	}
}

// dead marks what follows up to the end of the block as never reached.
func (s *scanner) dead() {
	top := s.top()
	top.deadCode = true
	s.height = top.base
}

func (s *scanner) instruction() error {
	start := s.r.at
	code, err := s.r.byte()
	if err != nil {
		return at(start, errors.New("malformed: the function has no end"))
	}
	switch code {
	case opMisc, opVector:
		err = s.prefixed(start, code)
	default:
		if o := plainOps[code]; o.imm == immSpecial {
			err = s.special(start, code)
		} else if o.imm == immUnknown {
			err = unknownOp(code, 0)
		} else {
			err = s.plain(start, code, o)
		}
	}
	return at(start, err)
}

// plain handles an instruction that goes on with the next one.
func (s *scanner) plain(start int, code byte, o op) error {
	first := s.r
	if err := s.skip(o.imm); err != nil {
		return err
	}
	s.charge(uint32(o.weight))
	s.push(int(o.height))
	switch code {
	case opLocalGet, opLocalSet, opLocalTee:
		if code == opLocalGet {
			s.got = got{from: start, at: s.r.at, first: first.rest[0] == 0}
		}
		return s.within(first, "local variable", uint64(len(s.f.typ.params))+s.f.locals)
	case opGlobalGet, opGlobalSet:
		return s.within(first, "global", uint64(s.m.globals))
	case opI32Const:
		s.jump = readJump(first)
	case opUnreachable:
		s.dead()
	case 0x26: // table.set
		s.m.tables = true
	case opMemoryGrow:
		s.edit(start, editMemoryGrow, 0)
	case opRefFunc:
		f, _ := first.u32()
		s.m.escaping[f] = true
	}
	return nil
}

// within checks an index against what the module itself has. The engine would not mind one that leads behind it, to what the
// pass adds there: with it, a guest would set its own fuel.
func (s *scanner) within(r reader, what string, has uint64) error {
	index, err := r.u32()
	if err == nil && uint64(index) >= has {
		err = fmt.Errorf("malformed: %s %d of %d", what, index, has)
	}
	return err
}

func (s *scanner) prefixed(start int, code byte) error {
	second, err := s.r.u32()
	if err != nil {
		return err
	}
	var o op
	switch {
	case code == opMisc && second < uint32(len(miscOps)):
		o = miscOps[second]
	case code == opVector && second < uint32(len(vectorOps)):
		o = vectorOps[second]
		s.f.vectors = true
	default:
		o.imm = immUnknown
	}
	if o.imm == immUnknown {
		return unknownOp(code, second)
	}
	if err := s.skip(o.imm); err != nil {
		return err
	}
	s.charge(uint32(o.weight))
	s.push(int(o.height))
	if code == opMisc {
		s.bulk(start, second)
	}
	return nil
}

// bulk notes the instructions whose cost depends on an operand.
func (s *scanner) bulk(start int, second uint32) {
	before := func(shift int32) {
		s.f.edits = append(s.f.edits, edit{at: int32(start - s.start), end: int32(start - s.start), kind: editBulk, arg: shift})
	}
	switch second {
	case miscMemoryInit, miscMemoryCopy, miscMemoryFill:
		before(bytesPerFuelShift)
	case miscTableInit, miscTableCopy, miscTableFill:
		s.m.tables = true
		before(0)
	case miscTableGrow:
		s.m.tables, s.m.grows = true, true
		s.edit(start, editTableGrow, 0)
	case miscElemDrop, miscDataDrop:
		s.m.tables = true
	}
}

// skip skips what follows an opcode.
func (s *scanner) skip(imm immediates) error {
	r := &s.r
	var err error
	switch imm {
	case immByte:
		_, err = r.byte()
	case imm4:
		_, err = r.take(4)
	case imm8:
		_, err = r.take(8)
	case imm16:
		_, err = r.take(16)
	case immIndex:
		_, err = r.u32()
	case immIndex2, immMemarg, immIndexByte, immMemLane:
		if _, err = r.u32(); err != nil {
			return err
		}
		switch imm {
		case immIndexByte:
			_, err = r.byte()
		default:
			_, err = r.u32()
		}
		if err == nil && imm == immMemLane {
			_, err = r.byte()
		}
	case immLEB32:
		err = r.skipLEB(5)
	case immLEB64:
		err = r.skipLEB(10)
	case immByteByte:
		_, err = r.take(2)
	}
	return err
}

// special handles the instructions that steer control.
func (s *scanner) special(start int, code byte) error {
	switch code {
	case opBlock, opLoop, opIf:
		return s.block(code)
	case opElse:
		return s.otherwise()
	case opEnd:
		s.end()
		return nil
	case opBr, opBrIf:
		return s.branch(start, code)
	case opBrTable:
		return s.branchTable(start)
	case opReturn:
		s.charge(1)
		s.edit(start, editReturn, int32(len(s.frames)-1))
		s.dead()
		return nil
	case opCall:
		return s.call(start)
	case opCallIndirect:
		return s.callIndirect(start)
	case opSelectTyped:
		n, err := s.r.count(1)
		if err == nil {
			_, err = s.r.take(n)
		}
		s.charge(1)
		s.push(-2)
		return err
	}
	return unknownOp(code, 0)
}

func (s *scanner) block(code byte) error {
	params, results, err := s.blockType()
	if err != nil {
		return err
	}
	if len(s.frames) >= maxNesting {
		return fmt.Errorf("more than %d blocks are nested", maxNesting)
	}
	if code == opIf {
		s.charge(1)
		s.push(-1)
	}
	dead := s.top().deadCode
	s.open(frame{code: code, params: params, results: results, deadCode: dead})
	switch code {
	case opBlock:
		if s.doors > 0 {
			s.doors--
			s.top().doorOf = s.doorsOf
		}
	case opLoop:
		s.loop()
	case opIf:
		s.begin(s.top().segment)
	}
	return nil
}

// loop begins one that was just opened.
func (s *scanner) loop() {
	top := s.top()
	s.begin(top.segment)
	top.own = s.current
	s.f.segments[s.current].loop = true
	s.charge(1)
	if top.params > 0 { // a jump brings others
		return
	}
	if top.dispatch = readDispatch(s.r); top.dispatch != nil {
		s.doors, s.doorsOf = top.dispatch.doors, top.dispatch
	}
}

func (s *scanner) blockType() (params, results int, err error) {
	t, err := s.r.s33()
	switch {
	case err != nil:
		return 0, 0, err
	case t == blockEmpty-0x80:
		return 0, 0, nil
	case t < 0:
		return 0, 1, nil
	case t >= int64(len(s.m.types)):
		return 0, 0, fmt.Errorf("malformed: type %d of %d", t, len(s.m.types))
	}
	return len(s.m.types[t].params), len(s.m.types[t].results), nil
}

func (s *scanner) otherwise() error {
	top := s.top()
	if top.code != opIf {
		return errors.New("malformed: else without if")
	}
	top.code = opElse
	top.deadCode = len(s.frames) > 1 && s.frames[len(s.frames)-2].deadCode
	s.height = top.base + top.params
	s.begin(top.segment)
	return nil
}

func (s *scanner) end() {
	top := *s.top()
	s.frames = s.frames[:len(s.frames)-1]
	s.height = top.base + top.results
	s.f.highest = max(s.f.highest, s.height)
	if len(s.frames) == 0 {
		return
	}
	if top.calls {
		s.top().calls = true
	} else if top.code == opLoop {
		s.f.tight = true
	}
	s.begin(top.segment)
}

func (s *scanner) branch(start int, code byte) error {
	to, err := s.label()
	if err != nil {
		return err
	}
	s.charge(1)
	if code == opBr {
		s.plainBranch(start, to)
		s.dead()
		return nil
	}
	s.pin(to)
	s.push(-1)
	return nil
}

// plainBranch notes a branch to a loop: it goes where the loop would send it, or pays for the next round.
func (s *scanner) plainBranch(start, to int) {
	if s.frames[to].code != opLoop {
		return
	}
	if label, open := s.door(to, start); open {
		s.edit(start, editJump, int32(label))
		return
	}
	before := int32(start - s.start)
	s.f.edits = append(s.f.edits, edit{at: before, end: before, kind: editBack, arg: s.frames[to].own})
}

// pin lets a loop pay for itself.
func (s *scanner) pin(to int) {
	if s.frames[to].code == opLoop {
		s.f.segments[s.frames[to].own].pinned = true
	}
}

// label reads one, and returns the index of the frame. Around what is there, the pass may put a block of its own, which is nobody
// else's to leave.
func (s *scanner) label() (to int, err error) {
	label, err := s.r.u32()
	if err == nil && int64(label) >= int64(len(s.frames)) {
		err = fmt.Errorf("malformed: branch out of %d blocks, of which there are %d", label, len(s.frames))
	}
	return len(s.frames) - 1 - int(label), err
}

func (s *scanner) branchTable(start int) error {
	s.entry(start)
	n, err := s.r.count(1)
	for i := 0; i <= n && err == nil; i++ {
		var to int
		if to, err = s.label(); err == nil {
			s.pin(to)
		}
	}
	s.charge(3)
	s.dead()
	return err
}

func (s *scanner) call(start int) error {
	callee, err := s.r.u32()
	if err != nil {
		return err
	}
	t, err := s.m.signature(callee)
	if err != nil {
		return err
	}
	if int64(callee) < int64(len(s.m.imported)) {
		s.charge(weightHostCall)
	} else {
		s.charge(weightCall)
		s.f.calls = append(s.f.calls, callee-uint32(len(s.m.imported)))
	}
	s.push(-len(t.params))
	s.push(len(t.results))
	s.called(start)
	return nil
}

func (s *scanner) callIndirect(start int) error {
	t, err := s.m.typeIndex(&s.r)
	if err == nil {
		_, err = s.r.u32()
	}
	if err != nil {
		return err
	}
	s.charge(weightIndirect)
	s.f.indirect = append(s.f.indirect, t)
	s.push(-1 - len(s.m.types[t].params))
	s.push(len(s.m.types[t].results))
	s.called(start)
	return nil
}

// called notes the call that ends here.
func (s *scanner) called(start int) {
	s.top().calls = true
	s.edit(start, editCall, 0)
}
