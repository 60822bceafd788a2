package ws

//go:wasmexport ws_open
func exportOpen(conn int64) int32 { return open(conn) }

//go:wasmexport ws_message
func exportMessage(conn int64, kind, n uint32) int32 { return message(conn, kind, n) }

//go:wasmexport ws_close
func exportClose(conn int64, code uint32) { closed(conn, code) }
