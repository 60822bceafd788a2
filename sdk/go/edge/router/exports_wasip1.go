package router

//go:wasmexport route
func exportRoute() int32 { return run() }
