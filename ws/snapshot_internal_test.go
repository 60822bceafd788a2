package ws

import "testing"

// TestTakes: nobody is told again of what he was told when he came, whatever came between.
func TestTakes(t *testing.T) {
	t.Parallel()
	at := func(epoch string, offset uint64) Position { return Position{Epoch: epoch, Offset: offset} }
	forks := []Position{at("b", 7), at("a", 5)}
	for name, c := range map[string]struct {
		known snapshot
		comes []Publication
		want  string // whether each is new
	}{
		"known":              {snapshot{members: at("a", 5)}, []Publication{{Change: at("a", 4)}, {Change: at("a", 5)}, {Change: at("a", 6)}}, "--+"},
		"of this node alone": {snapshot{members: at("a", 5)}, []Publication{{Change: at("", 1)}, {Change: at("a", 5)}}, "+-"},
		"of a new log":       {snapshot{members: at("a", 5)}, []Publication{{Change: at("z", 1)}, {Change: at("z", 2)}}, "++"},
		"over forks": {snapshot{members: at("a", 6)},
			[]Publication{{Change: at("c", 5), Before: forks}, {Change: at("c", 6), Before: forks}}, "-+"},
		"over one fork": {snapshot{members: at("b", 9)},
			[]Publication{{Change: at("c", 7), Before: forks}, {Change: at("c", 8), Before: forks}}, "-+"},
		"history over forks":  {snapshot{past: at("a", 5)}, []Publication{{Position: at("c", 5), Before: forks}, {Position: at("c", 6), Before: forks}}, "-+"},
		"the others, in part": {snapshot{members: at("", 3), partial: true}, []Publication{{Change: at("a", 9)}, {Change: at("", 3)}, {Change: at("", 4)}}, "+-+"},
	} {
		got := ""
		sub := &subscription{known: &c.known}
		for _, p := range c.comes {
			switch {
			case sub.known == nil || sub.takes(&p):
				got += "+"
			default:
				got += "-"
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if (sub.known == nil) != (c.known == snapshot{}) {
			t.Errorf("%s: %+v is kept", name, c.known)
		}
	}
}

// TestHoldRoster: a roster finds room.
func TestHoldRoster(t *testing.T) {
	t.Parallel()
	sub := &subscription{conn: &Conn{endpoint: &Endpoint{limits: Limits{QueueMessages: 2}}}}
	sub.hold(Publication{Change: Position{Offset: 1}})
	sub.hold(Publication{Change: Position{Offset: 2}})
	sub.hold(Publication{Change: Position{Offset: 3}, roster: rosterForAll})
	sub.hold(Publication{Change: Position{Offset: 4}, roster: rosterForPartial})
	if n := len(sub.held); n != 3 || sub.held[2].Change.Offset != 4 || sub.held[2].roster != rosterForAll {
		t.Errorf("%+v", sub.held)
	}
}
