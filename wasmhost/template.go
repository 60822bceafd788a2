package wasmhost

import (
	"errors"
	"fmt"

	"github.com/edge-server/edge/sdk/abi"
)

// template is an instance as it was when its start functions had run. New instances are clones of it: they show its memory
// and get its globals, so that start-up code runs once per generation and pages that nobody writes to exist once. The same
// puts an instance back to that state after a request (isolation: request) or a trap.
//
// It is immutable, and belongs to its generation.
type template struct {
	image      *image
	globals    []uint64 // values of generation.globals, in that order
	features   uint32
	generators []uint32 // where Go's runtime keeps random state
	desk       uint32
}

// newTemplate takes first, an instance that was started, as the template. The text says why that cannot be, "" if it can.
func newTemplate(first *instance) (*template, string, error) {
	if why := first.notCloned(); why != "" {
		return nil, why, nil
	}
	content, _ := first.mod.Memory().Read(0, first.mod.Memory().Size())
	t := &template{features: first.features, desk: first.desk.at}
	if first.afterClone == nil && !first.entropy.none() {
		if first.entropy.onlyGo() {
			t.generators = findGoGenerators(content)
		}
		if t.generators == nil {
			return nil, "it drew randomness or read the clock while it started, and may have seeded a generator that clones would " +
				"share; export " + abi.AfterClone + " and seed it there", nil
		}
	}
	for _, global := range first.globals {
		t.globals = append(t.globals, global.get())
	}
	t.image = newImage(content, first.gen.isolated)
	if err := first.become(t); err != nil {
		t.image.close()
		return nil, "", err
	}
	return t, "", nil
}

// notCloned says what about the module keeps it from being cloned.
func (i *instance) notCloned() string {
	if _, ok := i.gen.compiled.ExportedFunctions()[abi.NoClone]; ok {
		return "it exports " + abi.NoClone
	}
	if !i.files.untouched() || len(i.ext.handles.open) > 0 {
		return "it holds files or connections open that it opened while it started"
	}
	if i.gen.info.ChangesTables {
		return "its code changes tables or drops segments, which no template has"
	}
	for _, c := range i.globals {
		if !isNumber(c.global.Type()) {
			return "a mutable global of it holds a reference or a vector, which cannot be copied"
		}
	}
	return ""
}

// become makes a fresh instance, whose start functions did not run, one that was started.
func (i *instance) become(t *template) error {
	memory := i.mod.Memory()
	if missing := uint64(len(t.image.content)) - uint64(memory.Size()); missing > 0 {
		if _, ok := memory.Grow(uint32(missing / uint64(pageSize))); !ok {
			return fmt.Errorf("clone: no memory of %d bytes for an instance", len(t.image.content))
		}
	}
	if err := i.memory.show(t.image); err != nil {
		return err
	}
	i.template = t
	i.useDesk(t.desk)
	return i.settle()
}

// restore puts the instance back to what it was after its start. Anything but nil means that it must be discarded.
func (i *instance) restore() error {
	switch {
	case i.template == nil:
		return errors.New("there is no template")
	case i.mod.IsClosed():
		return errors.New("the module ended")
	case !i.files.untouched():
		return errors.New("the guest left files open")
	}
	i.ext.forget()
	i.desk.laid = false
	i.stdout.endLine()
	i.stderr.endLine()
	if err := i.memory.reset(); err != nil {
		return err
	}
	return i.settle()
}

// settle sets what is not in memory, and what clones must not share.
func (i *instance) settle() error {
	for n, global := range i.globals {
		global.set(i.template.globals[n])
	}
	i.features = i.template.features
	i.budget.reset(int64(i.gen.limits.Stack))
	for _, at := range i.template.generators {
		state, _ := i.mod.Memory().Read(at, goSize)
		reseedGo(state)
	}
	if i.afterClone == nil {
		return nil
	}
	i.exchange.phase = phaseStart
	err := i.runOnce(i.afterClone, nil)
	i.exchange.phase = phaseIdle
	if err != nil {
		return i.startError("call "+abi.AfterClone, err)
	}
	return nil
}

// forget drops what the guest was given since it started and will not know of any more.
func (e *extState) forget() {
	e.handles.end(true)
	e.mailbox = mailbox{}
	e.kv.opened = false
}
