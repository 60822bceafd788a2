package wasmhost

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

// desk is the host's side of abi.Desk: headers that the guest reads are laid into its memory before it is called, and the
// changes that it has left there are done when it returns or calls the host. A crossing costs some 50 ns, twice what is done
// with the header.
type desk struct {
	at     uint32 // in the guest's memory; 0: there is none
	bytes  []byte // the memory there, nil where that may move
	wanted []wantedHeader
	laid   bool // the names in the slots are those of wanted
}

// wantedHeader is a header that the guest has asked for, and will again.
type wantedHeader struct {
	headerName

	unused int // requests in a row
}

// deskPatience is after how many requests that did not use it a header leaves its slot.
const deskPatience = 64

// openDesk asks the guest for its desk. A trace is to show every call, so it does without.
func (i *instance) openDesk() error {
	f := i.mod.ExportedFunction(abi.Desk)
	if f == nil || i.gen.ext.trace != nil {
		return nil
	}
	result := [1]uint64{}
	if err := i.runOnce(f, result[:]); err != nil {
		return i.startError("call "+abi.Desk, err)
	}
	at := uint32(result[0])
	if _, ok := i.mod.Memory().Read(at, abi.DeskSize); !ok {
		return fmt.Errorf("%s: %d bytes at %d are outside of the guest's memory of %d bytes", abi.Desk, abi.DeskSize, at, i.mod.Memory().Size())
	}
	i.useDesk(at)
	return nil
}

func (i *instance) useDesk(at uint32) {
	i.desk = desk{at: at}
	if wanted := i.gen.wanted.Load(); wanted != nil {
		i.desk.wanted = slices.Clone(*wanted)
	}
	if _, moves := i.memory.(*heapMemory); at != 0 && !moves {
		i.desk.bytes, _ = i.mod.Memory().Read(at, abi.DeskSize)
	}
}

// deskBytes is the desk as it lies in the guest's memory. openDesk has seen that it is there, and memory does not shrink.
func (i *instance) deskBytes() []byte {
	if i.desk.bytes != nil {
		return i.desk.bytes
	}
	b, _ := i.mod.Memory().Read(i.desk.at, abi.DeskSize)
	return b
}

// layOut fills the slots for the request that the guest is about to get.
func (i *instance) layOut() {
	d := &i.desk
	b := i.deskBytes()
	for n := range d.wanted {
		w := &d.wanted[n]
		slot := b[abi.DeskSlotAt+n*abi.DeskSlotSize:][:abi.DeskSlotSize]
		if !d.laid {
			binary.LittleEndian.PutUint32(slot[8:], uint32(copy(slot[abi.DeskNameAt:abi.DeskValueAt], w.spelled)))
		}
		length := abi.DeskAsk
		switch values := i.values(abi.HeaderRequest, w.key); {
		case len(values) == 0:
			length = abi.DeskAbsent
		case len(values) == 1 && len(values[0]) <= abi.DeskMaxValue && strings.IndexByte(values[0], 0) < 0:
			length = uint32(copy(slot[abi.DeskValueAt:], values[0]))
		}
		binary.LittleEndian.PutUint64(slot, uint64(length)) // and that the guest has not used it
	}
	d.laid = true
	binary.LittleEndian.PutUint32(b[abi.DeskSlots:], uint32(len(d.wanted)))
}

// clearUp takes the slots away, which are of the request as it was, and remembers which were of use.
func (i *instance) clearUp() {
	d := &i.desk
	b := i.deskBytes()
	binary.LittleEndian.PutUint32(b[abi.DeskSlots:], 0)
	for n := len(d.wanted) - 1; n >= 0; n-- {
		w := &d.wanted[n]
		if b[abi.DeskSlotAt+n*abi.DeskSlotSize+4] != 0 {
			w.unused = 0
		} else if w.unused++; w.unused > deskPatience {
			d.wanted = append(d.wanted[:n], d.wanted[n+1:]...)
			d.laid = false
		}
	}
}

// asked notes that the guest has asked for a header of the request by a call. Instances that are made later know it.
func (i *instance) asked(spelled []byte, key string) {
	if i.desk.want(spelled, key) {
		wanted := slices.Clone(i.desk.wanted)
		i.gen.wanted.Store(&wanted)
	}
}

func (d *desk) want(spelled []byte, key string) bool {
	if d.at == 0 || len(d.wanted) == abi.DeskMaxSlots || len(spelled) > abi.DeskMaxName || key == "" {
		return false
	}
	for _, w := range d.wanted {
		if w.spelled == string(spelled) {
			return false
		}
	}
	d.wanted = append(d.wanted, wantedHeader{headerName: headerName{string(spelled), key}})
	d.laid = false
	return true
}

// takeChanges does what the guest has left on the desk. Like host functions it panics with what stops the guest.
func (i *instance) takeChanges(mem api.Memory) {
	b := i.deskBytes()
	count := binary.LittleEndian.Uint32(b[abi.DeskChanges:])
	if count == 0 {
		return
	}
	binary.LittleEndian.PutUint32(b[abi.DeskChanges:], 0)
	if count > abi.DeskMaxChanges {
		trap("%s: %d changes, where there is room for %d", abi.Desk, count, abi.DeskMaxChanges)
	}
	i.budget.calls += int(count)
	for n := range count {
		change := b[abi.DeskChangeAt+n*abi.DeskChangeSize:]
		field := func(n int) uint64 { return uint64(binary.LittleEndian.Uint32(change[4*n:])) }
		stack := [5]uint64{field(1), field(2), field(3), field(4), field(5)}
		switch what := uint32(field(0)); what {
		case abi.DeskSet:
			setHeaderValue(i, mem, stack[:])
		case abi.DeskAdd:
			addHeaderValue(i, mem, stack[:])
		case abi.DeskRemove:
			removeHeader(i, mem, stack[:])
		default:
			trap("%s: change %d is unknown; there are 1 to 3", abi.Desk, what)
		}
	}
}

// hasChanges reports whether the guest has left something.
func (i *instance) hasChanges() bool {
	return i.desk.at != 0 && binary.LittleEndian.Uint32(i.deskBytes()[abi.DeskChanges:]) != 0
}

// lastChanges is takeChanges for when the guest has returned.
func (i *instance) lastChanges() (err error) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case misuse:
			err = cause
		default:
			panic(cause)
		}
	}()
	i.takeChanges(i.mod.Memory())
	return nil
}
