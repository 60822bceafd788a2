package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/edge-server/edge/sdk/abi"
)

// Services are the parts of the server that plugins reach through their grants. Each may be nil: then the guest is told that it
// is not there. They are asked at each call, since a reload may have replaced what they answer.
type Services struct {
	// Store returns an open store of the kv section, nil without one of that name.
	Store func(name string) Store

	// Pool returns what answers for a PHP pool, nil without one.
	Pool func(name string) http.Handler

	// HasRoute reports whether http.routes has one of that name.
	HasRoute func(name string) bool

	// RequestID returns the identifier of the request that ctx belongs to, "" without one.
	RequestID func(ctx context.Context) string

	// Hub carries WebSocket messages.
	Hub Hub

	// Environ is where allow.env finds its variables, as KEY=VALUE.
	Environ []string
}

// genExt is what a generation has of the edge namespaces. It is immutable but for what has a lock of its own.
type genExt struct {
	plugin     *Plugin
	services   *Services
	trace      Trace // nil without
	namespaces []namespace
	grants     grants
	kinds      Kind
	manifest   *Manifest
	folders    []*os.Root
	network    *network // nil without allow.net
	decisions  decisionCache
	clock      clock
	kvClock    clock
	kvTicks    bool   // there is a kv_tick to call
	release    func() // lets the store go on that waits for this generation; nil if none does
	kvFeatures uint32
}

// openExt checks what the module wants beside http_handler, and provides it.
func (g *generation) openExt(ctx context.Context, l *loader, hosts map[string]map[string]signature, module []byte) error {
	p := g.ext.plugin
	x := &g.ext
	x.services, x.namespaces, x.trace = l.services, l.namespaces, l.trace
	x.clock.wake = l.wake
	kinds, kindsErr := kindsOf(g.compiled)
	var manifestErr, grantsErr error
	x.manifest, manifestErr = ReadManifest(module)
	x.kinds = x.manifest.narrow(kinds)
	x.grants, grantsErr = newGrants(p.config.Allow)
	if err := errors.Join(checkMemory(g.compiled), kindsErr, checkImports(g.compiled, hosts), manifestErr, x.manifest.check(kinds), grantsErr); err != nil {
		return err
	}
	if g.script == nil { // what a script imports nobody knows; its calls are checked all the same
		if err := checkGrants(g.compiled, p, x); err != nil {
			return err
		}
	}
	var err error
	if x.folders, err = x.grants.openFolders(); err != nil {
		return err
	}
	g.machine = x.grants.world(g.machine, x.folders, x.services.Environ)
	if x.grants.has("net") {
		x.network = newNetwork(&x.grants, &p.descriptors)
	}
	if slices.Contains(importedFrom(g.compiled, abi.CoreModule), abi.VarSet) {
		l.variables.Store(true)
	}
	for _, n := range l.namespaces {
		if imports(g.compiled, n.name) {
			if err := n.traced(l.trace).provide(ctx, g.runtime); err != nil {
				return fmt.Errorf("provide %s: %w", n.name, err)
			}
		}
	}
	return nil
}

// goOn ends the wait of a store for this generation.
func (x *genExt) goOn() {
	if x.release != nil {
		x.release()
	}
}

func (x *genExt) close() {
	x.goOn()
	for _, root := range x.folders {
		_ = root.Close() // a folder that was only read
	}
	if x.network != nil {
		x.network.close()
	}
}

// checkSuccessor: what a plugin is used as, its next content must be as well.
func (p *Plugin) checkSuccessor(kinds Kind) error {
	if old := p.Kinds(); !kinds.Has(old) {
		return fmt.Errorf("it is %s, and what it replaces is %s: requests rely on that; restart to change what a plugin is", kinds, old)
	}
	return nil
}

// configure lets the guest check its configuration. It runs once per instance that is started, after the start functions.
func (i *instance) configure() error {
	f := i.mod.ExportedFunction(abi.Configure)
	if f == nil {
		return nil
	}
	stack := [1]uint64{uint64(len(i.gen.config))}
	if err := i.runOnce(f, stack[:]); err != nil {
		return i.startError("call "+abi.Configure, err)
	}
	code := int32(uint32(stack[0]))
	if code == 0 {
		return nil
	}
	reason := i.ext.said
	if reason == "" {
		_, reason = i.lastWords()
	}
	if reason == "" {
		reason = fmt.Sprintf("%v (%d); it gives no reason", abi.Errno(code), code)
	}
	return fmt.Errorf("config: the plugin refuses it: %s", reason)
}

// waitingFor is waiting with a bound of its own, which 0 leaves to usual.
func (i *instance) waitingFor(ms uint64, usual time.Duration) (context.Context, context.CancelFunc) {
	wait := time.Duration(uint32(ms)) * time.Millisecond
	if wait == 0 {
		wait = usual
	}
	at := time.Now().Add(wait)
	if deadline, bounded := i.deadline(); bounded && deadline.Before(at) {
		at = deadline
	}
	return context.WithDeadline(i.Context, at)
}

// errNotThere: the plugin has no content that serves.
var errNotThere = errors.New("the plugin is not loaded")

// errNoInstance marks that a call was not made, as there was no instance for it. Nobody has counted or logged that.
type errNoInstance struct{ cause error }

func (e errNoInstance) Error() string { return e.cause.Error() }
func (e errNoInstance) Unwrap() error { return e.cause }

// run takes an instance through a call that is no request of a chain. do returns the error of the guest's call; anything else it
// keeps for itself. A call that fails costs the instance its memory, and is counted and logged; one that is not made is an
// errNoInstance.
func (p *Plugin) run(ctx context.Context, at phase, do func(*instance) error) error {
	inst, err := p.take(ctx)
	if err != nil {
		return errNoInstance{err}
	}
	gen := inst.gen
	inst.beginCall(ctx, at)
	if err := do(inst); err != nil {
		p.trapped(inst, err)
		gen.salvage(inst)
		return err
	}
	if gen.isolated || inst.exchange.r != nil || inst.mod.IsClosed() {
		gen.recycle(inst)
		return nil
	}
	inst.endCall()
	gen.giveBack(inst)
	return nil
}

// endCall forgets a call that had no request.
func (i *instance) endCall() {
	i.Context = context.Background()
	i.exchange.phase = phaseIdle
	i.endExt()
}

// beginCall makes ctx the one that host functions see.
func (i *instance) beginCall(ctx context.Context, at phase) {
	i.Context = ctx
	i.forgetWords()
	i.exchange.phase = at
}

// trapped counts and logs the error of a call that was no request.
func (p *Plugin) trapped(inst *instance, err error) {
	_ = p.explain(inst, err, inst.exchange.phase.outcome())
}

// mailbox is the buffer in the guest's memory that arguments go into.
type mailbox struct{ ptr, size uint32 }

// post puts parts one after the other into the mailbox.
func (i *instance) post(parts ...string) error {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	to, err := i.mailbox(length)
	if err != nil {
		return err
	}
	for _, part := range parts {
		to = to[copy(to, part):]
	}
	return nil
}

func (i *instance) mailbox(length int) ([]byte, error) {
	if length == 0 {
		return nil, nil
	}
	box := &i.ext.mailbox
	if uint64(length) > uint64(box.size) {
		if err := i.enlarge(length); err != nil {
			return nil, err
		}
	}
	b, ok := i.mod.Memory().Read(box.ptr, uint32(length))
	if !ok {
		*box = mailbox{}
		return nil, refusal(abi.ErrInternal, "%s gave a buffer outside of the guest's memory", abi.Mailbox)
	}
	return b, nil
}

// errMailbox marks that the guest has trapped.
type errMailbox struct{ cause error }

func (e errMailbox) Error() string { return abi.Mailbox + ": " + e.cause.Error() }
func (e errMailbox) Unwrap() error { return e.cause }

func (i *instance) enlarge(length int) error {
	if int64(length) > int64(i.gen.limits.Memory) {
		return refusal(abi.ErrTooLarge, "%d bytes are more than limits.memory", length)
	}
	want := max(length, 4096)
	stack := [1]uint64{uint64(want)}
	if err := i.run(i.mod.ExportedFunction(abi.Mailbox), stack[:]); err != nil {
		return errMailbox{err}
	}
	i.ext.mailbox = mailbox{uint32(stack[0] >> 32), uint32(stack[0])}
	if int64(i.ext.mailbox.size) < int64(length) {
		i.ext.mailbox = mailbox{}
		return refusal(abi.ErrTooLarge, "the guest has no room for %d bytes", length)
	}
	return nil
}

// export is what the guest is called by in a phase, for messages.
func (p phase) export() string {
	switch p {
	case phaseRequest:
		return abi.HandleRequest
	case phaseResponse:
		return abi.HandleResponse
	case phaseRoute:
		return abi.Route
	case phaseTick:
		return abi.Tick
	case phaseKV:
		return "kv_*"
	case phaseWS:
		return abi.WSMessage
	case phaseWSOpen:
		return abi.WSOpen
	case phaseWSClose:
		return abi.WSClose
	}
	return "start"
}

// outcome is what becomes of a call that was no request and failed.
func (p phase) outcome() string {
	switch p {
	case phaseTick:
		return "this tick is over"
	case phaseKV:
		return "the operation of the store failed"
	case phaseWS:
		return "the message is lost"
	case phaseWSOpen:
		return "the connection was refused"
	}
	return "that call is over"
}

// when is the phase as part of a sentence.
func (p phase) when() string {
	if p == phaseStart {
		return "while the module starts"
	}
	return "in " + p.export()
}

// endExt is what ends with a call: answers that nobody closed, and with isolation the connections, whose handles the guest has
// forgotten.
func (i *instance) endExt() {
	i.ext.reset()
	if w := &i.ext.wait; w.cancel != nil {
		w.cancel()
		*w = waitContext{}
	}
	i.ext.handles.end(i.gen.isolated)
}

// handles are what a guest has open.
type handles struct {
	last int32
	open map[int32]handle
}

// handle is a connection or an answer.
type handle interface {
	Close() error
	lasts() bool // beyond the call that opened it
}

const maxHandles = 64

func (h *handles) add(x handle) (int64, error) {
	if len(h.open) >= maxHandles {
		_ = x.Close()
		return 0, refusal(abi.ErrLimit, "%d handles are open; close some", maxHandles)
	}
	if h.open == nil {
		h.open = map[int32]handle{}
	}
	for {
		h.last = h.last&(1<<30-1) + 1 // goes round, and is never 0
		if _, taken := h.open[h.last]; !taken {
			h.open[h.last] = x
			return int64(h.last), nil
		}
	}
}

func handleOf[T handle](h *handles, number uint64) (T, error) {
	x, ok := h.open[int32(uint32(number))].(T)
	if !ok {
		return x, refusal(abi.ErrInvalid, "%d is not a handle that is open here", int32(uint32(number)))
	}
	return x, nil
}

func closeHandle[T handle](i *instance, number uint64) (int64, error) {
	x, err := handleOf[T](&i.ext.handles, number)
	if err != nil {
		return 0, err
	}
	delete(i.ext.handles.open, int32(uint32(number)))
	_ = x.Close() // nothing that the guest could do about it
	return 0, nil
}

// end closes what does not last, or all.
func (h *handles) end(all bool) {
	if len(h.open) == 0 {
		return // most guests open none, and to begin with a map takes time
	}
	for number, x := range h.open {
		if all || !x.lasts() {
			_ = x.Close()
			delete(h.open, number)
		}
	}
}

// prepareExt asks the first instance what its exports do not tell.
func (g *generation) prepareExt(first *instance) error {
	if g.script != nil {
		kinds, err := g.script.kinds(first)
		if err != nil {
			return err
		}
		g.ext.kinds = kinds
	}
	if err := g.prepareKV(first); err != nil {
		return err
	}
	return g.ext.plugin.checkSuccessor(g.ext.kinds)
}
