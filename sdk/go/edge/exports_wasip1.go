package edge

import (
	"unsafe"

	"github.com/edge-server/edge/sdk/abi"
)

// exportNoResponse spares the server calling, and waiting to call, a handler that is not there.
//
//go:wasmexport edge_no_response
func exportNoResponse() uint32 {
	if plugin.response == nil {
		return 1
	}
	return 0
}

//go:wasmexport edge_config
func exportConfig(uint32) int32 { return checkConfig() }

//go:wasmexport edge_desk
func exportDesk() uint32 {
	desk.open = true
	return uint32(uintptr(unsafe.Pointer(&desk)))
}

// The names of those exports.
const _ = abi.NoResponse + abi.Configure + abi.Desk

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func length(b []byte) uint32 { return uint32(len(b)) }

//go:wasmimport http_handler enable_features
func enableFeatures(features uint32) uint32

//go:wasmimport http_handler get_config
//go:noescape
func hostGetConfig(buf unsafe.Pointer, limit uint32) uint32

func getConfig(buf []byte) uint32 { return hostGetConfig(pointer(buf), length(buf)) }

//go:wasmimport http_handler log
//go:noescape
func writeLog(level int32, message string)

//go:wasmimport http_handler log_enabled
func logEnabled(level int32) uint32

//go:wasmimport http_handler get_method
//go:noescape
func hostGetMethod(buf unsafe.Pointer, limit uint32) uint32

func getMethod(buf []byte) uint32 { return hostGetMethod(pointer(buf), length(buf)) }

//go:wasmimport http_handler set_method
//go:noescape
func setMethod(method string)

//go:wasmimport http_handler get_uri
//go:noescape
func hostGetURI(buf unsafe.Pointer, limit uint32) uint32

func getURI(buf []byte) uint32 { return hostGetURI(pointer(buf), length(buf)) }

//go:wasmimport http_handler set_uri
//go:noescape
func setURI(uri string)

//go:wasmimport http_handler get_protocol_version
//go:noescape
func hostGetProtocolVersion(buf unsafe.Pointer, limit uint32) uint32

func getProtocolVersion(buf []byte) uint32 { return hostGetProtocolVersion(pointer(buf), length(buf)) }

//go:wasmimport http_handler get_source_addr
//go:noescape
func hostGetSourceAddr(buf unsafe.Pointer, limit uint32) uint32

func getSourceAddr(buf []byte) uint32 { return hostGetSourceAddr(pointer(buf), length(buf)) }

//go:wasmimport http_handler get_header_names
//go:noescape
func hostGetHeaderNames(kind uint32, buf unsafe.Pointer, limit uint32) uint64

func getHeaderNames(kind uint32, buf []byte) uint64 {
	return hostGetHeaderNames(kind, pointer(buf), length(buf))
}

//go:wasmimport http_handler get_header_values
//go:noescape
func hostGetHeaderValues(kind uint32, name string, buf unsafe.Pointer, limit uint32) uint64

func getHeaderValues(kind uint32, name string, buf []byte) uint64 {
	return hostGetHeaderValues(kind, name, pointer(buf), length(buf))
}

//go:wasmimport http_handler set_header_value
//go:noescape
func setHeaderValue(kind uint32, name, value string)

//go:wasmimport http_handler add_header_value
//go:noescape
func addHeaderValue(kind uint32, name, value string)

//go:wasmimport http_handler remove_header
//go:noescape
func removeHeader(kind uint32, name string)

//go:wasmimport http_handler read_body
//go:noescape
func hostReadBody(kind uint32, buf unsafe.Pointer, limit uint32) uint64

func readBody(kind uint32, buf []byte) uint64 { return hostReadBody(kind, pointer(buf), length(buf)) }

//go:wasmimport http_handler write_body
//go:noescape
func hostWriteBody(kind uint32, body unsafe.Pointer, bodyLen uint32)

func writeBody(kind uint32, body []byte) { hostWriteBody(kind, pointer(body), length(body)) }

//go:wasmimport http_handler get_status_code
func getStatusCode() uint32

//go:wasmimport http_handler set_status_code
func setStatusCode(code uint32)
