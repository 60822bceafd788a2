package ws

import "unsafe"

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func length(b []byte) uint32 { return uint32(len(b)) }

// edge_ws_v1

//go:wasmimport edge_ws_v1 send
//go:noescape
func hostSend(conn int64, kind uint32, message unsafe.Pointer, messageLen uint32) int32

func send(conn int64, kind uint32, message []byte) int32 {
	return hostSend(conn, kind, pointer(message), length(message))
}

//go:wasmimport edge_ws_v1 subscribe
//go:noescape
func subscribe(conn int64, topic string) int32

//go:wasmimport edge_ws_v1 unsubscribe
//go:noescape
func unsubscribe(conn int64, topic string) int32

//go:wasmimport edge_ws_v1 close
//go:noescape
func disconnect(conn int64, code uint32, reason string) int32
