package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

// namespace is one module of imports.
type namespace struct {
	name      string
	functions []importable
	grant     string // the key of allow without which a guest must not import it; "" needs none
}

// namespaces are all that guests may import, WASI apart.
func namespaces() []namespace {
	http := make([]importable, len(httpHandler))
	for i, f := range httpHandler {
		http[i] = importable{f.name, f.signature(), f.call}
	}
	return []namespace{
		{abi.HostModule, http, ""},
		{abi.CoreModule, edge(coreFunctions()), ""},
		{abi.KVModule, edge(kvFunctions()), "kv"},
		{abi.NetModule, edge(netFunctions()), "net"},
		{abi.WSModule, edge(wsFunctions()), "publish"},
		{abi.RouteModule, edge(routeFunctions()), ""},
		{abi.MetricsModule, edge(metricsFunctions()), ""},
		{abi.SchedModule, edge(schedFunctions()), ""},
		{abi.PHPModule, edge(phpFunctions()), "php"},
	}
}

// signatures is what guests may import, by name.
func (n namespace) signatures() map[string]signature {
	s := map[string]signature{}
	for _, f := range n.functions {
		s[f.name] = f.signature
	}
	return s
}

// provide makes the functions of the namespace available in rt.
func (n namespace) provide(ctx context.Context, rt wazero.Runtime) error {
	builder := rt.NewHostModuleBuilder(n.name)
	for _, f := range n.functions {
		builder.NewFunctionBuilder().WithGoModuleFunction(&provided{
			call:    f.call,
			answers: len(f.signature.results) == 1 && len(f.signature.params) > 1,
		}, f.signature.params, f.signature.results).Export(f.name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

// provided is a function as the engine calls it.
type provided struct {
	call    func(inst *instance, mem api.Memory, stack []uint64)
	answers bool // with a number of bytes in a buffer
}

// Call implements api.GoModuleFunction.
func (p *provided) Call(ctx context.Context, mod api.Module, stack []uint64) {
	inst := ctx.(*instance)
	inst.called()
	if inst.hasChanges() {
		inst.takeChanges(mod.Memory())
	}
	p.call(inst, mod.Memory(), stack)
	if p.answers {
		inst.spendAnswer(stack[0])
	}
}

// importable is a function that guests may import.
type importable struct {
	name      string
	signature signature
	call      func(inst *instance, mem api.Memory, stack []uint64)
}

// parseSignature reads parameters, a colon and the results: i is an i32, I an i64.
func parseSignature(sig string) signature {
	params, results, _ := strings.Cut(sig, ":")
	types := func(letters string) []api.ValueType {
		var list []api.ValueType
		for _, c := range letters {
			if c == 'I' {
				list = append(list, i64)
			} else {
				list = append(list, i32)
			}
		}
		return list
	}
	return signature{types(params), types(results)}
}

// edgeFunction is an import of Edge's own namespaces. It returns errors to the guest and never traps.
type edgeFunction struct {
	name string
	sig  string // as for parseSignature, with one result
	when phases
	call func(inst *instance, mem api.Memory, stack []uint64) (int64, error)
}

// edge makes host functions of fs.
func edge(fs []edgeFunction) []importable {
	list := make([]importable, len(fs))
	for i, f := range fs {
		wide := strings.HasSuffix(f.sig, ":I")
		list[i] = importable{f.name, parseSignature(f.sig), func(inst *instance, mem api.Memory, stack []uint64) {
			n, err := int64(0), f.when.check(inst.exchange.phase)
			if err == nil {
				n, err = f.call(inst, mem, stack)
			}
			if err != nil {
				inst.ext.failed, inst.ext.failedIn = err, f.name
				n = int64(errnoOf(err))
			}
			if wide {
				stack[0] = uint64(n)
			} else {
				stack[0] = uint64(uint32(n))
			}
		}}
	}
	return list
}

// phases is a set of phases.
type phases uint16

const (
	always       phases = 1<<16 - 1
	withRequest         = 1<<phaseRequest | 1<<phaseResponse | 1<<phaseRoute | 1<<phaseWSOpen
	withAnswer          = 1<<phaseRequest | 1<<phaseResponse
	inRoute             = phases(1 << phaseRoute)
	whileRunning        = always &^ (1<<phaseIdle | 1<<phaseStart | 1<<phaseParked)
)

func (p phases) has(now phase) bool { return p&(1<<now) != 0 }

func (p phases) check(now phase) error {
	if !p.has(now) {
		return errPhase
	}
	return nil
}

// hostError is an error for a guest: the number it gets, and the words of last_error.
type hostError struct {
	code abi.Errno
	text string
}

func (e *hostError) Error() string { return e.text }

func refusal(code abi.Errno, format string, args ...any) error {
	return &hostError{code, fmt.Sprintf(format, args...)}
}

// Errors without a story of their own.
var (
	errPhase   = &hostError{abi.ErrPhase, "not callable at this moment: docs/abi.md has a table of what is callable when"}
	errPointer = &hostError{abi.ErrInvalid, "a pointer or a length is outside of the guest's memory"}
	errKey     = &hostError{abi.ErrNotFound, "there is no such key"}
	errBudget  = &hostError{abi.ErrTooLarge, "larger than limits.body"}
)

// Errno is the number by which guests know an error of a Store or a Driver.
func Errno(err error) abi.Errno { return errnoOf(err) }

// errnoOf is the number of an error.
func errnoOf(err error) abi.Errno {
	var known *hostError
	var number abi.Errno
	var network net.Error
	switch {
	case errors.As(err, &known):
		return known.code
	case errors.As(err, &number):
		return number
	case errors.Is(err, context.DeadlineExceeded):
		return abi.ErrTimeout
	case errors.Is(err, context.Canceled):
		return abi.ErrClosed // who waited for it is gone
	case errors.As(err, &network) && network.Timeout():
		return abi.ErrTimeout
	case errors.As(err, &network):
		return abi.ErrUnavailable
	}
	return abi.ErrInternal
}

// bytesAt returns n bytes of the guest's memory, not a copy.
func bytesAt(mem api.Memory, ptr, n uint64) ([]byte, error) {
	if uint32(n) == 0 {
		return nil, nil
	}
	b, ok := mem.Read(uint32(ptr), uint32(n))
	if !ok {
		return nil, errPointer
	}
	return b, nil
}

// textAt is a copy of n bytes, at most limit of them.
func textAt(mem api.Memory, ptr, n uint64, limit int) (string, error) {
	if int64(uint32(n)) > int64(limit) {
		return "", refusal(abi.ErrTooLarge, "a text of %d bytes where %d are the limit", uint32(n), limit)
	}
	b, err := bytesAt(mem, ptr, n)
	return string(b), err
}

// give writes b if it fits into limit bytes at buf, and returns its length either way.
func give[T string | []byte](mem api.Memory, buf, limit uint64, b T) (int64, error) {
	if len(b) > 0 && uint64(len(b)) <= uint64(uint32(limit)) {
		to, err := bytesAt(mem, buf, uint64(len(b)))
		if err != nil {
			return 0, err
		}
		copy(to, b)
	}
	return int64(len(b)), nil
}

// giveList writes items like get_header_values.
func giveList(mem api.Memory, buf, limit uint64, items []string, lower bool) (int64, error) {
	length := len(items)
	for _, item := range items {
		length += len(item)
	}
	if length > 0 && uint64(length) <= uint64(uint32(limit)) {
		if _, err := bytesAt(mem, buf, uint64(length)); err != nil {
			return 0, err
		}
	}
	return int64(writeList(mem, uint32(buf), uint32(limit), items, lower)), nil
}

// validLabel is the grammar of names that end up in logs and metrics.
func validLabel(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r))
	})
}

// extState is what an instance has of the edge namespaces.
type extState struct {
	failed   error // of the last call that returned an error, for last_error
	failedIn string
	said     string // set_error
	mailbox  mailbox
	handles  handles
	route    *Decision
	wait     waitContext
	kv       kvGuest
	ws       wsGuest
}

// reset forgets what belongs to one call. What last_error tells may have names and addresses of the request in it.
func (e *extState) reset() {
	if e.said != "" || e.route != nil || e.failed != nil {
		e.said, e.route, e.failed, e.failedIn = "", nil, nil, ""
	}
}

// sees reports whether the plugin may import name: a namespace, or namespace.function.
func (g *generation) sees(name string) bool {
	module, function, one := strings.Cut(name, ".")
	for _, n := range g.ext.namespaces {
		if n.name == module {
			return (n.grant == "" || g.ext.grants.has(n.grant)) &&
				(!one || slices.ContainsFunc(n.functions, func(f importable) bool { return f.name == function }))
		}
	}
	return false
}
