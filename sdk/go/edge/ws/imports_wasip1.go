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

//go:wasmimport edge_ws_v1 user
//go:noescape
func hostUser(conn int64, buf unsafe.Pointer, limit uint32) int32

func user(conn int64, buf []byte) int32 { return hostUser(conn, pointer(buf), length(buf)) }

//go:wasmimport edge_ws_v1 set_user
//go:noescape
func setUser(conn int64, user string) int32

//go:wasmimport edge_ws_v1 get
//go:noescape
func hostGet(conn int64, name string, buf unsafe.Pointer, limit uint32) int32

func get(conn int64, name string, buf []byte) int32 {
	return hostGet(conn, name, pointer(buf), length(buf))
}

//go:wasmimport edge_ws_v1 set
//go:noescape
func set(conn int64, name, value string) int32
