package wasmhost

import (
	"context"
	"math"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/wasmhost/meter"
)

// budget is what one call into a guest may still use. The guest counts instructions and stack by itself, in globals that
// package meter gave it; the host counts calls and time. It belongs to an instance.
type budget struct {
	fuel, stack, denied cell

	calls int // host calls of the call in progress

	runs, unreported uint64 // calls in all, and since one was reported

	// The clock starts when a call waits for the first time, or has called the host clockEvery times: what a guest computes
	// is bounded by fuel, and most never wait, so that reading the clock for each would cost more than it tells.
	began  time.Time
	exempt time.Duration // spent waiting for the client, which http.limits bounds
}

const (
	// startFactor is how much more start functions may use than a request: they run once, and some build large tables.
	startFactor = 10

	// clockEvery is after how many host calls the clock is read.
	clockEvery = 256

	noLimit = math.MaxInt64 / 2
)

func (b *budget) open(mod api.Module) {
	b.fuel.global, _ = mod.ExportedGlobal(meter.Fuel).(api.MutableGlobal)
	b.stack.global, _ = mod.ExportedGlobal(meter.Stack).(api.MutableGlobal)
	b.denied.global, _ = mod.ExportedGlobal(meter.Denied).(api.MutableGlobal)
}

// reset is for an instance that was stopped somewhere in the middle.
func (b *budget) reset(stack int64) {
	b.stack.set(uint64(uint32(stack)))
	b.denied.set(0)
}

// run calls a function of the guest with all that one call may use. Every call into a guest goes through it. An error is
// a *Trap, or the errBodyTooLarge, errClientBody or errClientGone of a host function.
func (i *instance) run(f api.Function, stack []uint64) error {
	return i.runWith(i.gen.limits.Fuel, f, stack)
}

// runOnce is run for what runs once per instance.
func (i *instance) runOnce(f api.Function, stack []uint64) error {
	err := i.runWith(min(i.gen.limits.Fuel, noLimit/startFactor)*startFactor, f, stack)
	if err != nil { // main left by proc_exit, perhaps, and the instance goes on
		i.budget.reset(int64(i.gen.limits.Stack))
	}
	return err
}

func (i *instance) runWith(fuel int64, f api.Function, stack []uint64) error {
	if fuel <= 0 {
		fuel = noLimit
	}
	b := &i.budget
	b.calls, b.exempt = 0, 0
	if !b.began.IsZero() {
		b.began = time.Time{}
	}
	b.fuel.set(uint64(fuel))
	err := f.CallWithStack(i, stack)
	if err == nil && i.hasChanges() {
		err = i.lastChanges()
	}
	if i.exchange.phase != phaseStart { // what runs for the instance tells nothing of requests
		b.runs++
		if b.unreported++; b.unreported >= reportEvery || b.runs <= reportClosely || err != nil {
			i.report(uint64(fuel-int64(b.fuel.get())), err != nil)
		}
	}
	if err != nil {
		return i.trapOf(err)
	}
	return nil
}

// called counts a host call. Host functions begin with it.
func (i *instance) called() {
	b := &i.budget
	b.calls++
	if b.calls%clockEvery == 0 {
		i.checkCalls()
	}
}

func (i *instance) checkCalls() {
	if limit := i.gen.limits.Calls; limit > 0 && i.budget.calls > limit {
		panic(errTooManyCalls)
	}
	if i.expired() {
		panic(errTimeUp)
	}
}

// spend takes n units off the fuel, for work that the host does for the guest.
func (i *instance) spend(n uint64) {
	b := &i.budget
	if b.fuel.global == nil {
		return
	}
	left := int64(b.fuel.get()) - int64(min(n, noLimit))
	b.fuel.set(uint64(left))
	if left < 0 {
		panic(errNoFuel)
	}
}

// bytesPerFuel is what the host copies for one unit, as a bulk operation of the guest does.
const bytesPerFuel = 8

// spendBytes is spend for n bytes that were copied. A few are part of the call's price.
func (i *instance) spendBytes(n int) {
	if n > 512 {
		i.spend(uint64(n / bytesPerFuel))
	}
}

// spendAnswer pays for the bytes that a host function gave into a buffer: their number is the lower half of its result; an
// error is negative.
func (i *instance) spendAnswer(result uint64) {
	if n := int32(uint32(result)); n > 512 {
		i.spendBytes(int(n))
	}
}

// deadline is when the current call into the guest has used its time; false if nothing bounds it.
func (i *instance) deadline() (time.Time, bool) {
	limit := i.gen.limits.Time
	if limit <= 0 {
		return time.Time{}, false
	}
	b := &i.budget
	if b.began.IsZero() {
		b.began = time.Now()
	}
	return b.began.Add(limit + b.exempt), true
}

func (i *instance) expired() bool {
	at, ok := i.deadline()
	return ok && time.Now().After(at)
}

// waiting is the context for whatever a host function waits for on behalf of the guest: it ends with the request or at the
// deadline of the call, whatever comes first.
func (i *instance) waiting() (context.Context, context.CancelFunc) {
	if at, ok := i.deadline(); ok {
		return context.WithDeadline(i.Context, at)
	}
	return context.WithCancel(i.Context)
}

// waitForClient runs f, which waits for the client: that time is not the guest's.
func (i *instance) waitForClient(f func()) {
	began := time.Now()
	defer func() { i.budget.exempt += time.Since(began) }()
	f()
}

// sleep is how a guest waits for time to pass.
func (i *instance) sleep(ns int64) {
	d := time.Duration(ns)
	if d <= 0 {
		return
	}
	ctx, cancel := i.waiting()
	defer cancel()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		if i.expired() {
			panic(errTimeUp)
		}
		panic(errClientGone)
	}
}
