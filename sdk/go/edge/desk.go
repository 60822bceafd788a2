package edge

import (
	"unsafe"

	"github.com/edge-server/edge/sdk/abi"
)

// desk is abi.Desk: headers of the request that the server has laid there before it called, and changes that it finds there
// when the plugin returns or calls it. Neither costs a call. The fields down to slot are as docs/abi.md has them.
var desk struct {
	slots, changes uint32
	change         [abi.DeskMaxChanges]deskChange
	slot           [abi.DeskMaxSlots]deskSlot

	kept [abi.DeskMaxChanges]struct{ name, value string } // what changes point to, so that it is not collected
	met  [abi.DeskMaxSlots]string                         // values as they were last, so that the usual one costs no allocation
	open bool                                             // the server has asked for it; others than Edge do not
}

type deskChange struct{ what, kind, name, nameLen, value, valueLen uint32 }

type deskSlot struct {
	length, used, nameLen uint32
	name                  [abi.DeskMaxName]byte
	value                 [abi.DeskMaxValue]byte
}

// fromDesk finds the only value of a header of the request. It reports false if that has to be asked for.
func fromDesk(name string) (value string, known bool) {
	for i := range min(desk.slots, abi.DeskMaxSlots) {
		slot := &desk.slot[i]
		if slot.nameLen != uint32(len(name)) || len(name) > len(slot.name) || !same(&slot.name[0], name) {
			continue
		}
		slot.used = 1
		switch {
		case slot.length == abi.DeskAbsent:
			return "", true
		case slot.length <= uint32(len(slot.value)):
			if met := desk.met[i]; uint32(len(met)) != slot.length || !same(&slot.value[0], met) {
				desk.met[i] = string(slot.value[:slot.length])
			}
			return desk.met[i], true
		}
		return "", false
	}
	return "", false
}

// same reports whether the len(s) bytes at p are those of s. Calls and loops are what is dear in Go's WebAssembly, so it does
// without for most names.
func same(p *byte, s string) bool {
	at, n := unsafe.Pointer(p), len(s)
	to := unsafe.Pointer(unsafe.StringData(s))
	if n < 8 || n > 24 {
		return string(unsafe.Slice(p, n)) == s
	}
	middle := min(8, n-8)
	return *(*uint64)(at) == *(*uint64)(to) &&
		*(*uint64)(unsafe.Add(at, n-8)) == *(*uint64)(unsafe.Add(to, n-8)) &&
		*(*uint64)(unsafe.Add(at, middle)) == *(*uint64)(unsafe.Add(to, middle))
}

// leave puts a change on the desk. It reports false if that has to be made by a call.
func leave(what, kind uint32, name, value string) bool {
	if kind == abi.HeaderRequest {
		desk.slots = 0 // of the request as it was
	}
	n := desk.changes
	if !desk.open || n >= abi.DeskMaxChanges {
		return false
	}
	kept, change := &desk.kept[n], &desk.change[n]
	kept.name, kept.value = name, value
	change.what, change.kind = what, kind
	change.name, change.nameLen = textAddress(name), uint32(len(name))
	change.value, change.valueLen = textAddress(value), uint32(len(value))
	desk.changes = n + 1
	return true
}

func textAddress(s string) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.StringData(s)))) }
