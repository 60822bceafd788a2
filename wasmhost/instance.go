package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost/meter"
)

// instance is one copy of a plugin: a linear memory and the functions on it. Whoever took it from the pool is the only one
// to use it.
//
// It is also the context.Context of every call into the guest, because that is what host functions receive: a type
// assertion gives them the request at hand, without an allocation or a lookup per call.
type instance struct {
	context.Context // of the request in progress; context.Background() otherwise

	gen            *generation
	mod            api.Module
	handleRequest  api.Function
	handleResponse api.Function
	afterClone     api.Function // nil without
	stack          [2]uint64    // parameters and results of both

	memory   linearMemory
	globals  []*cell    // all, in the order of generation.info
	tables   api.Global // bytes of all tables; nil if none grows
	template *template  // that it was made from, nil without
	entropy  entropy    // what it took while it started
	files    guestFiles

	features  uint32                // turned on while the module started: they count for all requests
	names     map[string]headerName // by how the guest spells them
	recent    recentNames
	slab      slab
	desk      desk
	list      []string // scratch of get_header_names
	spoke     bool     // since forgetWords
	complaint []byte   // the last thing it logged as an error
	stdout    *lineWriter
	stderr    *lineWriter
	budget    budget

	exchange exchange
	outer    *instance // that waits for the answer, as this one does: see passage
	reqCtx   uint32    // what handle_response is told then
	ext      extState
	served   uint64        // requests
	untimed  uint64        // requests since the last one that was timed, that one not included
	weight   uint64        // how many requests the time of this one stands for; 0: it is not timed
	took     time.Duration // of this one, in the guest, if it is timed
	entered  time.Time

	// hold says who may close the instance while its request is with the rest of the chain.
	hold atomic.Int32
}

const (
	holdOwned     int32 = iota // by its request or the pool
	holdParked                 // its request is with the rest of the chain; the end of a drain may take it
	holdPinned                 // likewise, and the answer is held back for it: only the end of the host may
	holdReclaimed              // taken
)

// maxNames bounds the table of header names: a guest may make them up from what clients send.
const maxNames = 256

// newInstance makes a copy of the generation's template, or an instance that runs the start functions.
func newInstance(gen *generation) (*instance, error) {
	inst := &instance{gen: gen, names: map[string]headerName{}}
	inst.stdout = &lineWriter{log: gen.log, stream: "stdout", inst: inst}
	inst.stderr = &lineWriter{log: gen.log, stream: "stderr", inst: inst}
	inst.exchange.phase = phaseStart
	if err := inst.instantiate(); err != nil {
		return nil, err
	}
	err := error(nil)
	if gen.template != nil {
		err = inst.become(gen.template)
	} else {
		err = inst.runStart()
	}
	if err != nil {
		inst.close()
		return nil, err
	}
	inst.exchange.phase = phaseIdle
	inst.ext.reset()
	return inst, nil
}

func (i *instance) instantiate() error {
	config := i.gen.machine.
		WithStdout(i.stdout).
		WithStderr(i.stderr).
		WithRandSource(&i.entropy).
		WithNanosleep(i.sleep).
		WithWalltime(i.entropy.walltime, clockResolution)
	allocator := &allocator{}
	i.Context = experimental.WithMemoryAllocator(context.Background(), allocator)
	mod, err := i.gen.runtime.InstantiateModule(i, i.gen.compiled, config)
	i.Context = context.Background()
	i.memory = allocator.made
	if err != nil {
		i.releaseMemory()
		return i.startError("instantiate", err)
	}
	mod = i.traced(mod)
	i.mod = mod
	i.budget.open(mod)
	i.tables = mod.ExportedGlobal(meter.Tables)
	i.handleRequest = mod.ExportedFunction(abi.HandleRequest)
	i.handleResponse = mod.ExportedFunction(abi.HandleResponse)
	i.afterClone = mod.ExportedFunction(abi.AfterClone)
	for _, exported := range i.gen.info.Globals {
		if global, ok := mod.ExportedGlobal(exported.Export).(api.MutableGlobal); ok {
			i.globals = append(i.globals, &cell{global: global})
		}
	}
	b := &i.budget
	i.gen.cells.find(append([]*cell{&b.fuel, &b.stack, &b.denied}, i.globals...))
	b.reset(int64(i.gen.limits.Stack))
	return nil
}

// runStart calls what a module has to call before anything else.
func (i *instance) runStart() error {
	for _, name := range []string{meter.Start, abi.Start, abi.Initialize} {
		if err := i.start(name); err != nil {
			return err
		}
	}
	if err := i.configure(); err != nil {
		return err
	}
	return i.openDesk()
}

func (i *instance) start(name string) error {
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return nil
	}
	err := i.runOnce(f, nil)
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 && !i.mod.IsClosed() {
		return nil // main ended; the exports go on living
	}
	if err != nil {
		return i.startError("call "+name, err)
	}
	return nil
}

// startError adds what the guest said, which is where most languages explain a failed start.
func (i *instance) startError(step string, err error) error {
	var thrown scriptError
	if errors.As(err, &thrown) {
		return thrown
	}
	stream, words := i.lastWords()
	if words == "" {
		return fmt.Errorf("%s: %w", step, err)
	}
	return fmt.Errorf("%s: %w (%s: %q)", step, err, stream, words)
}

// lastWords are the end of what the guest said in this call, and where: in most languages the reason of a trap is on
// stderr, in TinyGo on stdout, and plugins that print nothing have logged it.
func (i *instance) lastWords() (stream, words string) {
	said := i.stderr
	if len(said.tail) == 0 {
		said = i.stdout
	}
	if len(said.tail) == 0 {
		return "log", printable(i.complaint)
	}
	return said.stream, printable(said.tail)
}

func (i *instance) forgetWords() {
	if !i.spoke {
		return
	}
	i.spoke = false
	i.stdout.tail, i.stderr.tail = i.stdout.tail[:0], i.stderr.tail[:0]
	i.stdout.panics, i.stderr.panics = false, false
	i.complaint = i.complaint[:0]
}

// noResponse asks the guest whether its handle_response has nothing to do.
func (i *instance) noResponse() (bool, error) {
	f := i.mod.ExportedFunction(abi.NoResponse)
	if f == nil {
		return false, nil
	}
	results := i.stack[:1]
	if err := i.runOnce(f, results); err != nil {
		return false, i.startError("call "+abi.NoResponse, err)
	}
	return uint32(results[0]) == 1, nil
}

// warmUp calls what the guest wants to have run before it is copied.
func (i *instance) warmUp() error {
	i.exchange.phase = phaseStart
	err := i.start(abi.WarmUp)
	i.exchange.phase = phaseIdle
	return err
}

// Of the first timeClosely requests of an instance every timeClosely/8th is timed, then every timeEvery-th: reading the clock
// four times takes a third of the whole call of a small guest (BenchmarkMiddleware). The first is not like the others and is
// not timed. Both are powers of two.
const (
	timeClosely = 64
	timeEvery   = 64
)

// timed reports whether the nth request of an instance is one whose time is taken.
func timed(nth uint64) bool {
	return nth%timeEvery == 2 || nth < timeClosely && nth%(timeClosely/8) == 2
}

// Value implements context.Context. The engine asks for its own keys at each call into a guest: they are there while a module
// is instantiated, and never come with a request, whose context may be many layers deep. Host functions wait with i.Context.
func (i *instance) Value(key any) any {
	if i.exchange.phase != phaseStart {
		return nil
	}
	return i.Context.Value(key)
}

// begin makes the request the one that host functions see.
func (i *instance) begin(w http.ResponseWriter, r *http.Request) {
	i.served++
	i.untimed++
	i.weight = 0
	if timed(i.served) {
		i.weight, i.untimed = i.untimed, 0
	}
	i.Context = r.Context()
	i.forgetWords()
	i.exchange.begin(w, r, i.features, i.gen)
}

// end forgets the request.
func (i *instance) end() {
	i.Context = context.Background()
	if i.weight != 0 {
		i.gen.ext.plugin.counters.latency.note(i.took, i.weight)
		i.weight, i.took = 0, 0
	}
	i.endExt()
	clear(i.exchange.undo)
	i.exchange = exchange{undo: i.exchange.undo[:0]}
}

// request calls handle_request.
func (i *instance) request() (abi.CtxNext, error) {
	i.exchange.phase = phaseRequest
	if len(i.desk.wanted) > 0 {
		i.layOut()
	}
	err := i.run(i.handleRequest, i.stack[:1])
	if len(i.desk.wanted) > 0 {
		i.clearUp()
	}
	if err != nil {
		return abi.Done, err
	}
	return abi.CtxNext(i.stack[0]), nil
}

// response calls handle_response.
func (i *instance) response(reqCtx uint32, failed bool) error {
	i.exchange.phase = phaseResponse
	i.exchange.answerBegun = false
	i.stack = [2]uint64{uint64(reqCtx), 0}
	if failed {
		i.stack[1] = 1
	}
	return i.run(i.handleResponse, i.stack[:2])
}

// park lets a forced close take the instance while the rest of the chain runs; unpark reports whether it is still there.
func (i *instance) park() {
	i.exchange.phase = phaseParked
	if held := i.exchange.held; held != nil {
		held.pinned = &i.hold
		i.hold.Store(holdPinned)
		return
	}
	i.hold.Store(holdParked)
}

func (i *instance) unpark() bool {
	return i.hold.CompareAndSwap(holdParked, holdOwned) || i.hold.CompareAndSwap(holdPinned, holdOwned)
}

// reclaim takes a parked instance away from its request; with force also one without which the answer would be lost.
func (i *instance) reclaim(force bool) bool {
	return i.hold.CompareAndSwap(holdParked, holdReclaimed) || force && i.hold.CompareAndSwap(holdPinned, holdReclaimed)
}

func (i *instance) close() {
	i.ext.handles.end(true)
	// The error of closing is that of closing the guest's files, and it has none.
	_ = i.mod.Close(context.Background())
	i.closeFiles()
	i.releaseMemory()
}

func (i *instance) releaseMemory() {
	if i.memory != nil {
		i.memory.release()
	}
}

// procExit replaces WASI's: leaving main with 0 while the module starts must not close the module, as its exports are
// called afterwards. Everything else ends the instance.
func procExit(ctx context.Context, mod api.Module, stack []uint64) {
	code := uint32(stack[0])
	starting := false
	if inst, ok := ctx.(*instance); ok {
		starting = inst.exchange.phase == phaseStart
	}
	if code != 0 || !starting {
		_ = mod.CloseWithExitCode(ctx, code)
	}
	panic(sys.NewExitError(code)) // this is how wazero unwinds a guest
}
