package edge

import "unsafe"

// The functions of Edge's own namespaces. What a plugin does not use the linker leaves out.

// address is where b lies, for the pointers of results.
func address(b []byte) uint32 { return uint32(uintptr(pointer(b))) }

// edge_core_v1

//go:wasmimport edge_core_v1 has
//go:noescape
func has(name string) int32

//go:wasmimport edge_core_v1 now_ms
func nowMS() int64

//go:wasmimport edge_core_v1 deadline_ms
func deadlineMS() int64

//go:wasmimport edge_core_v1 var_get
//go:noescape
func hostVarGet(name string, buf unsafe.Pointer, bufLen uint32) int32

func varGet(name string, buf []byte) int32 {
	return hostVarGet(name, pointer(buf), length(buf))
}

//go:wasmimport edge_core_v1 var_set
//go:noescape
func varSet(name string, value string) int32

//go:wasmimport edge_core_v1 last_error
//go:noescape
func hostLastError(buf unsafe.Pointer, bufLen uint32) int32

func lastError(buf []byte) int32 {
	return hostLastError(pointer(buf), length(buf))
}

//go:wasmimport edge_core_v1 set_error
//go:noescape
func setError(text string) int32

//go:wasmimport edge_core_v1 flush
func flush() int32

// edge_kv_v1

//go:wasmimport edge_kv_v1 open
//go:noescape
func kvOpen(store string) int32

//go:wasmimport edge_kv_v1 get
//go:noescape
func hostKvGet(h int32, key string, buf unsafe.Pointer, bufLen uint32, meta unsafe.Pointer) int32

func kvGet(h int32, key string, buf []byte, meta *[16]byte) int32 {
	return hostKvGet(h, key, pointer(buf), length(buf), unsafe.Pointer(meta))
}

//go:wasmimport edge_kv_v1 set
//go:noescape
func hostKvSet(h int32, key string, value unsafe.Pointer, valueLen uint32, ttlMS int64, flags uint32, version int64) int32

func kvSet(h int32, key string, value []byte, ttlMS int64, flags uint32, version int64) int32 {
	return hostKvSet(h, key, pointer(value), length(value), ttlMS, flags, version)
}

//go:wasmimport edge_kv_v1 delete
//go:noescape
func kvDelete(h int32, key string, version int64) int32

//go:wasmimport edge_kv_v1 expire
//go:noescape
func kvExpire(h int32, key string, ttlMS int64) int32

//go:wasmimport edge_kv_v1 incr
//go:noescape
func hostKvIncr(h int32, key string, delta int64, ttlMS int64, out unsafe.Pointer) int32

func kvIncr(h int32, key string, delta int64, ttlMS int64, out *[8]byte) int32 {
	return hostKvIncr(h, key, delta, ttlMS, unsafe.Pointer(out))
}

//go:wasmimport edge_kv_v1 batch
//go:noescape
func hostKvBatch(h int32, ops unsafe.Pointer, opsLen uint32, buf unsafe.Pointer, bufLen uint32) int32

func kvBatch(h int32, ops []byte, buf []byte) int32 {
	return hostKvBatch(h, pointer(ops), length(ops), pointer(buf), length(buf))
}

//go:wasmimport edge_kv_v1 scan
//go:noescape
func hostKvScan(h int32, prefix string, cursor unsafe.Pointer, cursorLen uint32, max uint32, buf unsafe.Pointer, bufLen uint32) int32

func kvScan(h int32, prefix string, cursor []byte, max uint32, buf []byte) int32 {
	return hostKvScan(h, prefix, pointer(cursor), length(cursor), max, pointer(buf), length(buf))
}

// edge_net_v1

//go:wasmimport edge_net_v1 tcp_dial
//go:noescape
func tcpDial(address string, flags uint32, timeoutMS uint32) int32

//go:wasmimport edge_net_v1 tcp_read
//go:noescape
func hostTcpRead(h int32, buf unsafe.Pointer, bufLen uint32, timeoutMS uint32) int32

func tcpRead(h int32, buf []byte, timeoutMS uint32) int32 {
	return hostTcpRead(h, pointer(buf), length(buf), timeoutMS)
}

//go:wasmimport edge_net_v1 tcp_write
//go:noescape
func hostTcpWrite(h int32, bytes unsafe.Pointer, bytesLen uint32, timeoutMS uint32) int32

func tcpWrite(h int32, bytes []byte, timeoutMS uint32) int32 {
	return hostTcpWrite(h, pointer(bytes), length(bytes), timeoutMS)
}

//go:wasmimport edge_net_v1 tcp_close
func tcpClose(h int32) int32

//go:wasmimport edge_net_v1 http_do
//go:noescape
func hostHttpDo(head string, body unsafe.Pointer, bodyLen uint32, timeoutMS uint32) int32

func httpDo(head string, body []byte, timeoutMS uint32) int32 {
	return hostHttpDo(head, pointer(body), length(body), timeoutMS)
}

//go:wasmimport edge_net_v1 http_status
func hostHttpStatus(h int32) int32

func httpStatus(h int32) int32 { return hostHttpStatus(h) } // TinyGo has no values of imported functions

//go:wasmimport edge_net_v1 http_header
//go:noescape
func hostHttpHeader(h int32, name string, buf unsafe.Pointer, bufLen uint32) int64

func httpHeader(h int32, name string, buf []byte) int64 {
	return hostHttpHeader(h, name, pointer(buf), length(buf))
}

//go:wasmimport edge_net_v1 http_header_names
//go:noescape
func hostHttpHeaderNames(h int32, buf unsafe.Pointer, bufLen uint32) int64

func httpHeaderNames(h int32, buf []byte) int64 {
	return hostHttpHeaderNames(h, pointer(buf), length(buf))
}

//go:wasmimport edge_net_v1 http_read
//go:noescape
func hostHttpRead(h int32, buf unsafe.Pointer, bufLen uint32) int64

func httpRead(h int32, buf []byte) int64 {
	return hostHttpRead(h, pointer(buf), length(buf))
}

//go:wasmimport edge_net_v1 http_close
func hostHttpClose(h int32) int32

func httpClose(h int32) int32 { return hostHttpClose(h) } // TinyGo has no values of imported functions

// edge_php_v1

//go:wasmimport edge_php_v1 call
//go:noescape
func hostPhpCall(pool string, head string, body unsafe.Pointer, bodyLen uint32, timeoutMS uint32) int32

func phpCall(pool string, head string, body []byte, timeoutMS uint32) int32 {
	return hostPhpCall(pool, head, pointer(body), length(body), timeoutMS)
}

//go:wasmimport edge_php_v1 status
func hostPhpStatus(h int32) int32

func phpStatus(h int32) int32 { return hostPhpStatus(h) } // TinyGo has no values of imported functions

//go:wasmimport edge_php_v1 header
//go:noescape
func hostPhpHeader(h int32, name string, buf unsafe.Pointer, bufLen uint32) int64

func phpHeader(h int32, name string, buf []byte) int64 {
	return hostPhpHeader(h, name, pointer(buf), length(buf))
}

//go:wasmimport edge_php_v1 header_names
//go:noescape
func hostPhpHeaderNames(h int32, buf unsafe.Pointer, bufLen uint32) int64

func phpHeaderNames(h int32, buf []byte) int64 {
	return hostPhpHeaderNames(h, pointer(buf), length(buf))
}

//go:wasmimport edge_php_v1 read
//go:noescape
func hostPhpRead(h int32, buf unsafe.Pointer, bufLen uint32) int64

func phpRead(h int32, buf []byte) int64 {
	return hostPhpRead(h, pointer(buf), length(buf))
}

//go:wasmimport edge_php_v1 close
func hostPhpClose(h int32) int32

func phpClose(h int32) int32 { return hostPhpClose(h) } // TinyGo has no values of imported functions

// edge_metrics_v1

//go:wasmimport edge_metrics_v1 define
//go:noescape
func metricDefine(kind uint32, name string) int32

//go:wasmimport edge_metrics_v1 add
func metricAdd(id int32, delta int64) int32

//go:wasmimport edge_metrics_v1 set
func metricSet(id int32, value int64) int32

//go:wasmimport edge_metrics_v1 observe
func metricObserve(id int32, value int64) int32

// edge_sched_v1

//go:wasmimport edge_sched_v1 queue_push
//go:noescape
func hostQueuePush(item unsafe.Pointer, itemLen uint32) int32

func queuePush(item []byte) int32 {
	return hostQueuePush(pointer(item), length(item))
}

//go:wasmimport edge_sched_v1 queue_pop
//go:noescape
func hostQueuePop(buf unsafe.Pointer, bufLen uint32) int32

func queuePop(buf []byte) int32 {
	return hostQueuePop(pointer(buf), length(buf))
}

// edge_ws_v1

//go:wasmimport edge_ws_v1 publish
//go:noescape
func hostWsPublish(topic string, kind uint32, message unsafe.Pointer, messageLen uint32) int32

func wsPublish(topic string, kind uint32, message []byte) int32 {
	return hostWsPublish(topic, kind, pointer(message), length(message))
}
