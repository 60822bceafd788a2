package wasmhost

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/sys"
)

// TrapKind says why guest code was stopped.
type TrapKind uint8

// The kinds, and what they are called in logs and metrics.
const (
	TrapCode     TrapKind = iota // "code": unreachable, a division by zero, an access outside of memory
	TrapFuel                     // "fuel": limits.fuel
	TrapStack                    // "stack": limits.stack
	TrapMemory                   // "memory": it gave up after limits.memory had refused it more
	TrapDeadline                 // "deadline": limits.time
	TrapCalls                    // "calls": limits.calls
	TrapMisuse                   // "misuse": a host function was called with what it does not take
	TrapExit                     // "exit": proc_exit

	trapKinds
)

func (k TrapKind) String() string {
	names := [trapKinds]string{"code", "fuel", "stack", "memory", "deadline", "calls", "misuse", "exit"}
	if k < trapKinds {
		return names[k]
	}
	return "unknown"
}

// TrapKinds are the names of all kinds.
func TrapKinds() []string {
	names := make([]string, trapKinds)
	for kind := range trapKinds {
		names[kind] = kind.String()
	}
	return names
}

// Trap is a call into a guest that did not return.
type Trap struct {
	Kind  TrapKind
	limit string // the limit that was reached, as edge.yaml names it, with its value; "" without
	cause error
}

func (t *Trap) Error() string {
	text := t.cause.Error()
	switch t.Kind {
	case TrapFuel:
		text = "it computed for longer than it may"
	case TrapStack:
		text = "it called itself too often, one call within the other"
	case TrapMemory:
		text = "it was refused memory and gave up: " + firstLine(text)
	case TrapDeadline:
		text = "it took longer than it may"
	case TrapCalls:
		text = "it called the host more often than it may"
	}
	if t.limit != "" {
		text += " (" + t.limit + ")"
	}
	return text
}

func (t *Trap) Unwrap() error { return t.cause }

// What host functions panic with to stop the guest, besides misuse.
var (
	errNoFuel       = errors.New("out of fuel")
	errTooManyCalls = errors.New("too many host calls")
	errTimeUp       = errors.New("deadline exceeded")
	errClientGone   = errors.New("the request ended while the guest waited")
)

// misuse is what a host function was not content with.
type misuse struct{ error }

func (m misuse) Unwrap() error { return m.error }

// trapOf finds out why a call into the guest ended with err.
func (i *instance) trapOf(err error) error {
	var large errBodyTooLarge
	var client errClientBody
	if errors.As(err, &large) || errors.As(err, &client) || errors.Is(err, errClientGone) {
		return err
	}
	kind := i.kindOf(err)
	return &Trap{Kind: kind, limit: i.gen.limits.reached(kind), cause: err}
}

func (i *instance) kindOf(err error) TrapKind {
	var bad misuse
	var exit *sys.ExitError
	switch {
	case errors.As(err, &bad):
		return TrapMisuse
	case errors.Is(err, errTooManyCalls):
		return TrapCalls
	case errors.Is(err, errTimeUp):
		return TrapDeadline
	case errors.Is(err, errNoFuel), int64(i.budget.fuel.get()) < 0:
		return TrapFuel
	case int32(i.budget.stack.get()) < 0, strings.Contains(err.Error(), "stack overflow"):
		return TrapStack
	case errors.As(err, &exit):
		return TrapExit
	case i.budget.denied.get() != 0:
		return TrapMemory
	}
	return TrapCode
}

// reached names the limit that a trap of this kind has reached.
func (l Limits) reached(kind TrapKind) string {
	switch kind {
	case TrapFuel:
		return fmt.Sprintf("limits.fuel is %d", l.Fuel)
	case TrapStack:
		return fmt.Sprintf("limits.stack is %s", l.Stack)
	case TrapMemory:
		return fmt.Sprintf("limits.memory is %s", l.Memory)
	case TrapDeadline:
		return fmt.Sprintf("limits.time is %s", l.Time)
	case TrapCalls:
		return fmt.Sprintf("limits.calls is %d", l.Calls)
	}
	return ""
}
