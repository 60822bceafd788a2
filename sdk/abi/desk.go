package abi

// The desk is a piece of the guest's memory through which headers pass without a call: crossing between host and guest costs
// as much as everything else that a header does. What lies there is copied or done at a crossing that happens anyway.
// docs/abi.md, "The desk", has the rules.
const (
	// Desk answers where the desk is, [DeskSize] bytes that begin with zeros. The host asks once per instance, after
	// [Configure]; from then on the guest may leave changes there. A host that does not ask does not look.
	//
	//	edge_desk() -> ptr
	Desk = "edge_desk"

	// At the beginning are two u32: how many slots the host has filled, and how many changes the guest has left.
	DeskSlots   = 0
	DeskChanges = 4

	// Then changes, six u32 each: what ([DeskSet], [DeskAdd], [DeskRemove]), the kind of header, name, length, value, length.
	DeskChangeAt   = 8
	DeskChangeSize = 24
	DeskMaxChanges = 8

	// Then slots, each a header of the request: u32 length of the value or one of [DeskAbsent] and [DeskAsk], u32 that the guest
	// sets to 1 when it has used the slot, u32 length of the name, the name, the value.
	DeskSlotAt   = DeskChangeAt + DeskMaxChanges*DeskChangeSize
	DeskSlotSize = 256
	DeskMaxSlots = 4
	DeskNameAt   = 12 // of a slot
	DeskMaxName  = 36
	DeskValueAt  = DeskNameAt + DeskMaxName // of a slot
	DeskMaxValue = DeskSlotSize - DeskValueAt

	DeskSize = DeskSlotAt + DeskMaxSlots*DeskSlotSize
)

// What a change does.
const (
	DeskSet    uint32 = 1 // set_header_value
	DeskAdd    uint32 = 2 // add_header_value
	DeskRemove uint32 = 3 // remove_header
)

// Lengths of values that are none.
const (
	DeskAbsent uint32 = 1<<32 - 1 // the request has no such header
	DeskAsk    uint32 = 1<<32 - 2 // it has, but not in the slot: several values, or one that is too long
)
