package wasmhost

import (
	"context"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

// TraceEvent is a call from the host into a guest, or from a guest to the host. One into the guest is told twice, when it
// begins and when it is over, so that what happens in between can be shown as a part of it.
type TraceEvent struct {
	Plugin   string
	Function string // handle_request; http_handler.get_uri
	Guest    bool   // a call into the guest
	Begins   bool   // and nothing of the following is known yet

	Args   []string // texts quoted and cut, numbers in decimal
	Result string   // "" without one
	Took   time.Duration
	Fuel   int64 // of the guest alone
	Err    error // why the call did not return
}

// Trace is told of every call, by the goroutine that makes it. What it is told is for people: it costs copies of what passes
// between guest and host. Functions of WASI are not told of.
type Trace func(TraceEvent)

// traced is the namespace with every call told to trace. Without a trace it is the namespace itself, so that a server which
// traces nothing pays nothing.
func (n namespace) traced(trace Trace) namespace {
	if trace == nil {
		return n
	}
	functions := make([]importable, len(n.functions))
	for i, f := range n.functions {
		functions[i] = f
		functions[i].call = tracedCall(trace, n.name, f)
	}
	n.functions = functions
	return n
}

func tracedCall(trace Trace, module string, f importable) func(*instance, api.Memory, []uint64) {
	name := module + "." + f.name
	shape := callShapes[name]
	return func(i *instance, mem api.Memory, stack []uint64) {
		var params [8]uint64
		copy(params[:], stack[:len(f.signature.params)])
		event := TraceEvent{Plugin: i.gen.name, Function: name, Args: shape.args(mem, params[:len(f.signature.params)])}
		began := time.Now()
		defer func() {
			event.Took = time.Since(began)
			if reason := recover(); reason != nil {
				event.Err = fmt.Errorf("%v", reason)
				trace(event)
				panic(reason) // it was on its way to end the guest's call
			}
			if len(f.signature.results) == 1 {
				event.Result = i.tracedResult(module, shape, mem, params[:len(f.signature.params)], stack[0], f.signature.results[0])
			}
			trace(event)
		}()
		f.call(i, mem, stack)
	}
}

// tracedResult is what a host function returned; an error with the words that the guest could ask for.
func (i *instance) tracedResult(module string, shape callShape, mem api.Memory, params []uint64, raw uint64, t api.ValueType) string {
	n := int64(raw)
	if t == i32 {
		n = int64(int32(uint32(raw)))
	}
	if module != abi.HostModule && n < 0 && i.ext.failed != nil {
		return fmt.Sprintf("error: %v: %v", abi.Errno(n), i.ext.failed)
	}
	return shape.result(mem, params, raw, n)
}

// tracedModule tells of the calls of its exports.
type tracedModule struct {
	api.Module
	inst  *instance
	trace Trace
}

// traced is mod, or with a trace one that tells of its calls.
func (i *instance) traced(mod api.Module) api.Module {
	if i.gen.ext.trace == nil {
		return mod
	}
	return &tracedModule{mod, i, i.gen.ext.trace}
}

// ExportedFunction is nil for what is not exported, and an interface must be nil then, too.
func (m *tracedModule) ExportedFunction(name string) api.Function {
	f := m.Module.ExportedFunction(name)
	if f == nil {
		return nil
	}
	return &tracedFunction{f, name, m}
}

type tracedFunction struct {
	api.Function
	name string
	mod  *tracedModule
}

func (f *tracedFunction) CallWithStack(ctx context.Context, stack []uint64) error {
	event := TraceEvent{Plugin: f.mod.inst.gen.name, Function: f.name, Guest: true, Begins: true}
	for n := range f.Definition().ParamTypes() {
		event.Args = append(event.Args, fmt.Sprint(int64(stack[n])))
	}
	f.mod.trace(event)

	b := &f.mod.inst.budget
	before, began := int64(b.fuel.get()), time.Now()
	err := f.Function.CallWithStack(ctx, stack)
	event.Begins, event.Took, event.Fuel = false, time.Since(began), before-int64(b.fuel.get())
	if err != nil {
		event.Err = f.mod.inst.trapOf(err)
	} else if types := f.Definition().ResultTypes(); len(types) == 1 {
		event.Result = guestResult(f.name, types[0], stack[0])
	}
	f.mod.trace(event)
	return err
}

// guestResult is what an export returned, as a person would say it.
func guestResult(name string, t api.ValueType, raw uint64) string {
	switch {
	case name == abi.HandleRequest && abi.CtxNext(raw).Passes():
		return "the request goes on"
	case name == abi.HandleRequest:
		return "answered"
	case t == i32:
		return fmt.Sprint(int32(uint32(raw)))
	}
	return fmt.Sprint(int64(raw))
}
