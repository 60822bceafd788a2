package meter

import "slices"

const (
	// absorbOne is the longest segment that the one in front may pay for, absorbAll the most that it pays for others.
	absorbOne = 40
	absorbAll = 100

	// absorbLoop is the most that a segment pays for loops behind it, and others.
	absorbLoop = 250
)

// segment is code that control enters at its top alone.
type segment struct {
	parent int32  // the segment that is always passed before it; -1 for those that pay for themselves
	weight uint32 // of its instructions
	absorb uint32 // of others that it pays for

	// A loop is entered again and again, but where all branches back to it are plain ones they can pay for the next round, and the
	// segment in front pays for the first.
	loop   bool
	pinned bool // not so: there are branches of other kinds
}

// settle decides which segments pay for themselves, and takes out the charges of the others.
func (f *function) settle() {
	payer := make([]int32, len(f.segments))
	for i := range f.segments {
		s := &f.segments[i]
		payer[i] = int32(i)
		if s.parent < 0 || s.loop {
			continue
		}
		p := payer[s.parent]
		if front := &f.segments[p]; s.weight == 0 || s.weight <= absorbOne && front.absorb+s.weight <= absorbAll {
			front.absorb += s.weight
			payer[i] = p
		}
	}
	for i := len(f.segments) - 1; i >= 0; i-- { // inner loops first
		s := &f.segments[i]
		if !s.loop || s.pinned {
			continue
		}
		p := payer[s.parent]
		if front := &f.segments[p]; front.absorb+s.price() <= absorbLoop {
			front.absorb += s.price()
			payer[i] = p
		}
	}
	f.edits = slices.DeleteFunc(f.edits, func(e edit) bool {
		switch e.kind { // what pays for itself does so at its top, a loop that does not at the branches back to it, never at both
		case editCharge:
			return payer[e.arg] != e.arg
		case editBack:
			return payer[e.arg] == e.arg
		}
		return false
	})
}

// freePrice is up to what a function costs nothing that calls no other and has no loop: its caller has paid as much for the
// call.
const freePrice = 8

// free reports whether the function can stay as it is.
func (f *function) free() bool {
	other := func(e edit) bool { return e.kind != editReturn && (e.kind != editCharge || e.arg != 0) }
	return f.segments[0].price() <= freePrice && len(f.calls)+len(f.indirect) == 0 && !slices.ContainsFunc(f.edits, other)
}

// price is what the charge at the top of a segment takes.
func (s segment) price() uint32 { return s.weight + s.absorb }
