package meter

// Languages that have goto, and compilers whose functions can be entered in the middle, make a function one loop around a jump
// table: to jump is to put a number into a variable and to go back to the top of the loop. Go's functions all are of this kind:
//
//	loop
//	  block … block        ;; a door for each place that can be jumped to
//	    local.get $place
//	    br_table …
//	  end                  ;; the first place
//	    …
//	    i32.const 7
//	    local.set $place
//	    br $loop
//
// A door that is still open is the end of a block around the jump, which can go there at once: one jump that the processor
// foresees, in place of two of which one is through a table. What is behind doors that have been passed is still reached by the
// loop. The variable is set as before, so that nothing else has to be known of it.

// maxDoors bounds how far a table is looked at; those of the largest functions have a few thousand entries.
const maxDoors = 1 << 16

// dispatch is what a loop begins with that is made like this.
type dispatch struct {
	local uint32
	doors int
	table []uint32 // labels at the place of br_table; the last is for all other numbers
}

// readDispatch looks at what is behind the opcode and the type of a loop. What it does not understand is not for it to refuse.
func readDispatch(r reader) *dispatch {
	d := &dispatch{}
	for len(r.rest) > 1 && r.rest[0] == opBlock && r.rest[1] == blockEmpty && d.doors < maxDoors {
		_, _ = r.take(2)
		d.doors++
	}
	if d.doors == 0 || !r.follows(opLocalGet) {
		return nil
	}
	var err error
	if d.local, err = r.u32(); err != nil || !r.follows(opBrTable) {
		return nil
	}
	n, err := r.count(1)
	if err != nil || n > maxDoors {
		return nil
	}
	d.table = make([]uint32, n+1)
	for i := range d.table {
		if d.table[i], err = r.u32(); err != nil {
			return nil
		}
	}
	return d
}

// follows takes an opcode if it is the next one.
func (r *reader) follows(code byte) bool {
	if len(r.rest) == 0 || r.rest[0] != code {
		return false
	}
	_, _ = r.byte()
	return true
}

// label is where the table leads with a number, from br_table.
func (d *dispatch) label(place int32) uint32 {
	return d.table[min(uint32(place), uint32(len(d.table)-1))]
}

// jump is a number that was put into a variable just before the instruction at an offset in the module.
type jump struct {
	at    int
	local uint32
	place int32
}

// readJump looks at what is behind i32.const.
func readJump(r reader) (j jump) {
	place, err := r.s33()
	if err != nil || !r.follows(opLocalSet) {
		return j
	}
	if j.local, err = r.u32(); err != nil {
		return jump{}
	}
	j.at, j.place = r.at, int32(place)
	return j
}

// door returns the label that leads to where a branch to the top of the loop in frames[loop] would end.
func (s *scanner) door(loop int, start int) (label uint32, open bool) {
	d := s.frames[loop].dispatch
	if d == nil || s.jump.at != start || s.jump.local != d.local {
		return 0, false
	}
	// The blocks of doors have the frames behind that of the loop. Those that were passed are closed, and other blocks may have
	// their place.
	n := loop + d.doors - int(min(d.label(s.jump.place), maxDoors+1))
	if n <= loop || n >= len(s.frames) || s.frames[n].doorOf != d {
		return 0, false
	}
	return uint32(len(s.frames) - 1 - n), true
}

// got is a variable that was read just before the instruction at an offset in the module.
type got struct {
	from, at int
	first    bool // it is the function's first
}

// entry is for a jump table behind the doors of a function that can be entered in the middle: it is told where in its first
// parameter. Nearly always it is entered at the beginning, with 0, and a jump through a table costs more than the call.
func (s *scanner) entry(start int) {
	t := s.f.typ
	if s.got.at != start || !s.got.first || len(t.params) == 0 || t.params[0] != typeI32 || s.top().code != opBlock || s.top().results != 0 {
		return
	}
	r := s.r
	if n, err := r.count(1); err != nil || n == 0 {
		return
	}
	if label, err := r.u32(); err != nil || label != 0 {
		return
	}
	s.f.edits = append(s.f.edits, edit{at: int32(s.got.from - s.start), end: int32(start - s.start), kind: editEntry})
}
