package meter

import "fmt"

// Instructions that the pass has to tell from others.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opI32Eqz       = 0x45
	opI32Ne        = 0x47
	opI32LtS       = 0x48
	opI64LtS       = 0x53
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI64Sub       = 0x7d
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd

	// second bytes after opMisc
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17

	blockEmpty = 0x40
	typeI32    = 0x7f
	typeI64    = 0x7e
	typeV128   = 0x7b
)

// immediates say what bytes follow an opcode.
type immediates uint8

const (
	immNone      immediates = iota
	immByte                 // memory index 0, lane, reference type
	imm4                    // f32
	imm8                    // f64
	imm16                   // v128, lanes of a shuffle
	immIndex                // one index
	immIndex2               // two indexes
	immLEB32                // a signed number
	immLEB64                // a signed number
	immMemarg               // alignment and offset
	immMemLane              // alignment, offset and lane
	immIndexByte            // data segment and memory 0
	immByteByte             // memories 0 and 0
	immSpecial              // read by the pass itself: control, calls, select with types
	immUnknown              // no such instruction
)

// op describes an instruction: what follows it, how much higher the operand stack is after it (a loose instruction of
// which the pass itself takes care says 0), and what it costs.
type op struct {
	imm    immediates
	height int8
	weight uint8
}

// What instructions cost that take noticeably longer than the others. One unit is about a third of a nanosecond.
const (
	weightDivide   = 8
	weightCall     = 6
	weightIndirect = 10
	weightHostCall = 100
)

// plainOps are the one-byte instructions.
var plainOps = func() (ops [256]op) {
	for i := range ops {
		ops[i] = op{imm: immUnknown}
	}
	set := func(from, to int, o op) {
		for i := from; i <= to; i++ {
			o.weight = max(o.weight, 1)
			ops[i] = o
		}
	}
	set(opUnreachable, 0x01, op{}) // unreachable, nop
	set(opBlock, opElse, op{imm: immSpecial})
	set(opEnd, opCallIndirect, op{imm: immSpecial})
	set(opDrop, opDrop, op{height: -1})
	set(opSelect, opSelect, op{height: -2})
	set(opSelectTyped, opSelectTyped, op{imm: immSpecial, height: -2})
	set(opLocalGet, opLocalGet, op{imm: immIndex, height: 1})
	set(opLocalSet, opLocalSet, op{imm: immIndex, height: -1})
	set(opLocalTee, opLocalTee, op{imm: immIndex})
	set(opGlobalGet, opGlobalGet, op{imm: immIndex, height: 1})
	set(opGlobalSet, opGlobalSet, op{imm: immIndex, height: -1})
	set(0x25, 0x25, op{imm: immIndex})             // table.get
	set(0x26, 0x26, op{imm: immIndex, height: -2}) // table.set
	set(0x28, 0x35, op{imm: immMemarg})            // loads
	set(0x36, 0x3e, op{imm: immMemarg, height: -2})
	set(0x3f, 0x3f, op{imm: immByte, height: 1}) // memory.size
	set(opMemoryGrow, opMemoryGrow, op{imm: immByte})
	set(opI32Const, opI32Const, op{imm: immLEB32, height: 1})
	set(opI64Const, opI64Const, op{imm: immLEB64, height: 1})
	set(0x43, 0x43, op{imm: imm4, height: 1})
	set(0x44, 0x44, op{imm: imm8, height: 1})

	binary := func(from, to int) { set(from, to, op{height: -1}) }
	unary := func(from, to int) { set(from, to, op{}) }
	unary(0x45, 0x45)
	binary(0x46, 0x4f)
	unary(0x50, 0x50)
	binary(0x51, 0x66)
	unary(0x67, 0x69)
	binary(0x6a, 0x78)
	unary(0x79, 0x7b)
	binary(0x7c, 0x8a)
	unary(0x8b, 0x91)
	binary(0x92, 0x98)
	unary(0x99, 0x9f)
	binary(0xa0, 0xa6)
	unary(0xa7, 0xc4)                            // conversions, sign extension
	set(0xd0, 0xd0, op{imm: immByte, height: 1}) // ref.null
	set(0xd1, 0xd1, op{})                        // ref.is_null
	set(opRefFunc, opRefFunc, op{imm: immIndex, height: 1})
	for _, divides := range []int{0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0x91, 0x95, 0x9f, 0xa3} {
		ops[divides].weight = weightDivide // division, remainder, square root
	}
	return ops
}()

// miscOps follow 0xfc.
var miscOps = [18]op{
	{weight: 1}, {weight: 1}, {weight: 1}, {weight: 1}, {weight: 1}, {weight: 1}, {weight: 1}, {weight: 1}, // trunc_sat
	miscMemoryInit: {immIndexByte, -3, 10},
	miscDataDrop:   {immIndex, 0, 1},
	miscMemoryCopy: {immByteByte, -3, 10},
	miscMemoryFill: {immByte, -3, 10},
	miscTableInit:  {immIndex2, -3, 10},
	miscElemDrop:   {immIndex, 0, 1},
	miscTableCopy:  {immIndex2, -3, 10},
	miscTableGrow:  {immIndex, -1, 10},
	miscTableSize:  {immIndex, 1, 1},
	miscTableFill:  {immIndex, -3, 10},
}

// vectorOps follow 0xfd.
var vectorOps = func() (ops [256]op) {
	set := func(from, to int, o op) {
		o.weight = 1
		for i := from; i <= to; i++ {
			ops[i] = o
		}
	}
	set(78, 255, op{height: -1}) // most take two operands
	set(0, 10, op{imm: immMemarg})
	set(11, 11, op{imm: immMemarg, height: -2})
	set(12, 12, op{imm: imm16, height: 1})
	set(13, 13, op{imm: imm16, height: -1})
	set(14, 14, op{height: -1})
	set(15, 20, op{}) // splats
	set(21, 34, op{imm: immByte})
	for _, replaceLane := range []int{23, 26, 28, 30, 32, 34} {
		ops[replaceLane].height = -1
	}
	set(35, 76, op{height: -1})
	set(77, 77, op{})
	set(82, 82, op{height: -2}) // bitselect
	set(83, 83, op{})
	set(84, 87, op{imm: immMemLane, height: -1})
	set(88, 91, op{imm: immMemLane, height: -2})
	set(92, 93, op{imm: immMemarg})
	for _, unary := range [][2]int{{94, 100}, {103, 106}, {116, 117}, {122, 122}, {124, 129}, {131, 132}, {135, 138}, {148, 148},
		{160, 161}, {163, 164}, {167, 170}, {192, 193}, {195, 196}, {199, 202}, {224, 225}, {227, 227}, {236, 237}, {239, 239}, {248, 255}} {
		set(unary[0], unary[1], op{})
	}
	for _, unknown := range []int{154, 162, 165, 166, 175, 176, 178, 179, 180, 187, 194, 197, 198, 207, 208, 210, 211, 212, 226, 238} {
		ops[unknown] = op{imm: immUnknown}
	}
	return ops
}()

// proposalOf names the proposal that an opcode belongs to, for those that toolchains can be asked to leave out.
func proposalOf(code byte, second uint32) string {
	switch {
	case code >= 0x06 && code <= 0x0a, code == 0x18, code == 0x19, code == 0x1f:
		return "exception handling; build without it (C++: -fno-exceptions, Rust: panic=abort)"
	case code == 0x12 || code == 0x13:
		return "tail calls; build with -mno-tail-call (clang) or -C target-feature=-tail-call (rustc)"
	case code == 0x14 || code == 0x15 || code >= 0xd3 && code <= 0xd6 || code == 0xfb:
		return "garbage collection and typed references"
	case code == 0xfe:
		return "threads and atomics; build without shared memory"
	case code == opVector && second > 255:
		return "relaxed SIMD; build with -mno-relaxed-simd (clang) or -C target-feature=-relaxed-simd (rustc)"
	case code == opMisc && second >= 19 && second <= 22:
		return "wide arithmetic"
	}
	return ""
}

func unknownOp(code byte, second uint32) error {
	name := fmt.Sprintf("instruction %#02x", code)
	if code == opMisc || code == opVector {
		name += fmt.Sprintf(" %#02x", second)
	}
	if proposal := proposalOf(code, second); proposal != "" {
		return fmt.Errorf("%s belongs to a proposal that Edge does not run: %s", name, proposal)
	}
	return fmt.Errorf("%s is unknown; Edge runs WebAssembly 2.0", name)
}
