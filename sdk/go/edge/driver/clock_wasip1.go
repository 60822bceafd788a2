package driver

import (
	"time"
	"unsafe"
)

// clock is where the server writes the time of each operation once there is something other than 0.
var clock int64

//go:wasmexport kv_clock
func kvClock() uint32 { return uint32(uintptr(unsafe.Pointer(&clock))) }

func operationTime() time.Time {
	if clock == 0 {
		clock = time.Now().UnixMilli() // from now on the server keeps it
	}
	return time.UnixMilli(clock)
}
