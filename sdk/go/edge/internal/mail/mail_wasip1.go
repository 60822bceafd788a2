package mail

import "unsafe"

//go:wasmexport edge_mailbox
func mailbox(want uint32) uint64 {
	b := room(want)
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))<<32 | uint64(len(b))
}
