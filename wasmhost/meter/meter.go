package meter

import (
	"errors"
	"fmt"
	"strings"
)

// What a rewritten module exports for the host. The prefix is reserved: a guest that exports such a name is refused.
const (
	Prefix = "edge."

	Fuel   = Prefix + "fuel"   // global, i64
	Stack  = Prefix + "stack"  // global, i32
	Denied = Prefix + "denied" // global, i32
	Tables = Prefix + "tables" // global, i64; only with Info.GrowsTables
	Start  = Prefix + "start"  // function without parameters and results
)

// Version changes when the same module is rewritten differently, so that what was kept of it is made anew.
const Version = 3

// maxGlobals is how many mutable globals are exported; large programs have dozens.
const maxGlobals = 10_000

// maxFunctionSize is how long a function may get: what engines allow, wazero included.
const maxFunctionSize = 7_654_321

// Options say what is added besides the counting.
type Options struct {
	// Globals exports the guest's mutable globals.
	Globals bool

	// Limit is the most bytes that linear memory and tables may grow to together, 0 for what the module and the engine allow.
	Limit uint64

	// Entries are those that the tables begin with.
	Entries uint64
}

// Info says what is in a rewritten module.
type Info struct {
	// Start says that the module had a start function, which is exported as [Start] now and to be called first.
	Start bool

	// Globals are the guest's mutable globals with the names under which they are exported, in the order of their indexes.
	// Those of this package are not among them.
	Globals []Global

	// ChangesTables says that the code changes tables or drops segments: the state of an instance is not in its memory and
	// globals alone.
	ChangesTables bool

	// GrowsTables says that the code grows tables: an entry takes [GrownEntrySize] then, and [Tables] is what all take.
	GrowsTables bool

	// Recursive counts the functions that keep edge.stack.
	Recursive int
}

// Global is a mutable global of the guest.
type Global struct {
	Export string
	Index  uint32
	Type   byte // as in the binary format: 0x7f i32, 0x7e i64, 0x7d f32, 0x7c f64, 0x7b v128, 0x70 funcref, 0x6f externref
}

// Rewrite returns module with counting added. The module must have the binary format's header. What the pass does not
// know, it refuses: an instruction whose length it has to guess would hide the ones behind it.
//
// The result is valid if the module is, and only then: Rewrite does not check types, which the engine does afterwards anyway,
// but every index of a local variable, a global or a block, as what it adds would be behind the guest's own.
func Rewrite(module []byte, opts Options) ([]byte, Info, error) {
	m, err := parse(module)
	if err != nil {
		return nil, Info{}, err
	}
	if err := m.analyze(); err != nil {
		return nil, Info{}, err
	}
	m.limit, m.entries = opts.Limit, opts.Entries
	return m.write(opts)
}

// sectionError says where in the module something is wrong.
func sectionError(id byte, at int, err error) error {
	return fmt.Errorf("%s section, offset %#x: %w", sectionName(id), at, err)
}

// located is an error that knows its place.
type located struct {
	at  int
	err error
}

func (e located) Error() string { return e.err.Error() }
func (e located) Unwrap() error { return e.err }

// at notes the place of an error, unless it has one.
func at(offset int, err error) error {
	var l located
	if err == nil || errors.As(err, &l) {
		return err
	}
	return located{offset, err}
}

// reserved reports whether an export has a name that only this package gives.
func reserved(name string) bool { return strings.HasPrefix(name, Prefix) }
