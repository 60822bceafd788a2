package router

// edge_route_v1

//go:wasmimport edge_route_v1 to
//go:noescape
func to(route string) int32

//go:wasmimport edge_route_v1 pool
//go:noescape
func pool(name string) int32

//go:wasmimport edge_route_v1 rewrite
//go:noescape
func rewrite(uri string) int32

//go:wasmimport edge_route_v1 redirect
//go:noescape
func redirect(status uint32, url string) int32

//go:wasmimport edge_route_v1 status
func status(code uint32) int32

//go:wasmimport edge_route_v1 cache
//go:noescape
func cache(parts string, ttlMS uint32) int32
