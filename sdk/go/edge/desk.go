package edge

import (
	"bytes"
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

// get returns the first value of a header. Calls, and functions that go on after one, are what is dear in Go's WebAssembly, so the
// usual case has none: the only value of a header of the request lies on the desk, is the one of last time, and neither is long.
func get(kind uint32, name string) string {
	if kind != abi.HeaderRequest || len(name) < 8 || len(name) > 24 {
		return seek(kind, name)
	}
	for i := range min(desk.slots, abi.DeskMaxSlots) {
		slot := &desk.slot[i]
		if slot.nameLen != uint32(len(name)) || !same(unsafe.Pointer(&slot.name), name) {
			continue
		}
		met := desk.met[i]
		if slot.length != uint32(len(met)) || len(met) < 8 || len(met) > 24 || !same(unsafe.Pointer(&slot.value), met) {
			break
		}
		slot.used = 1
		return met
	}
	return seek(kind, name)
}

// same reports whether the len(s) bytes at p are those of s, which has 8 to 24.
func same(p unsafe.Pointer, s string) bool {
	n, q := len(s), unsafe.Pointer(unsafe.StringData(s))
	middle := min(8, n-8)
	return *(*uint64)(p) == *(*uint64)(q) &&
		*(*uint64)(unsafe.Add(p, n-8)) == *(*uint64)(unsafe.Add(q, n-8)) &&
		*(*uint64)(unsafe.Add(p, middle)) == *(*uint64)(unsafe.Add(q, middle))
}

// seek is get for all cases.
func seek(kind uint32, name string) string {
	if kind == abi.HeaderRequest && desk.slots > 0 {
		if value, known := fromDesk(name); known {
			return value
		}
	}
	list := Header{kind}.list(name)
	if end := bytes.IndexByte(list, 0); end >= 0 {
		return text(list[:end])
	}
	return ""
}

// fromDesk finds the only value of a header of the request. It reports false if that has to be asked for.
func fromDesk(name string) (value string, known bool) {
	for i := range min(desk.slots, abi.DeskMaxSlots) {
		slot := &desk.slot[i]
		if slot.nameLen != uint32(len(name)) || len(name) > len(slot.name) || string(slot.name[:len(name)]) != name {
			continue
		}
		slot.used = 1
		switch {
		case slot.length == abi.DeskAbsent:
			return "", true
		case slot.length <= uint32(len(slot.value)):
			if lies := slot.value[:slot.length]; desk.met[i] != string(lies) {
				desk.met[i] = string(lies)
			}
			return desk.met[i], true
		}
		return "", false
	}
	return "", false
}

// change puts a change of a header on the desk, or makes it by a call.
func change(what, kind uint32, name, value string) {
	if kind == abi.HeaderRequest {
		desk.slots = 0 // of the request as it was
	}
	n := desk.changes
	if !desk.open || n >= abi.DeskMaxChanges {
		changeNow(what, kind, name, value)
		return
	}
	kept, change := &desk.kept[n], &desk.change[n]
	kept.name, kept.value = name, value
	change.what, change.kind = what, kind
	change.name, change.nameLen = textAddress(name), uint32(len(name))
	change.value, change.valueLen = textAddress(value), uint32(len(value))
	desk.changes = n + 1
}

// changeNow is change by a call.
func changeNow(what, kind uint32, name, value string) {
	switch what {
	case abi.DeskSet:
		setHeaderValue(kind, name, value)
	case abi.DeskAdd:
		addHeaderValue(kind, name, value)
	case abi.DeskRemove:
		removeHeader(kind, name)
	}
}

func textAddress(s string) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.StringData(s)))) }
