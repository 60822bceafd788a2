package cron

import "time"

//go:wasmexport tick
func tick(nowMS int64) { Run(time.UnixMilli(nowMS)) }

//go:wasmimport edge_sched_v1 every
func every(ms uint32) int32
