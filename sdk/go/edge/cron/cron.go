// Package cron is for plugins that do something at intervals. Importing it makes a plugin such a one.
//
//	func init() {
//		cron.Handle(time.Minute, func(now time.Time) { … })
//	}
package cron

import (
	"time"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/internal/kind"
)

func init() { kind.Other = true }

var handler func(time.Time)

// Handle registers the function and lets it be called at the interval, from 100 ms to 24 h; with 0, [Every] will say how often.
// A plugin has one clock, whatever the number of its instances. Call it in init.
func Handle(interval time.Duration, tick func(now time.Time)) {
	handler = tick
	if interval > 0 {
		if err := Every(interval); err != nil {
			panic("cron.Handle: " + err.Error())
		}
	}
}

// Every changes the interval; 0 stops.
func Every(interval time.Duration) error {
	if n := every(uint32(min(interval.Milliseconds(), 1<<31-1))); n < 0 {
		return abi.Errno(n)
	}
	return nil
}

// Run is one tick: what the server calls, and tests do.
func Run(now time.Time) {
	defer edge.ExplainPanic(abi.Tick)
	if handler != nil {
		handler(now)
	}
}
