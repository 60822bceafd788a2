package fleet

import (
	"strconv"
	"strings"

	"github.com/edge-server/edge/ws"
)

// A server that is replaced may be in the past: the replica that took over had not got the latest yet, or a restart found an older file.
// It gives offsets away that it has given away before. So a driver that finds its server replaced goes on under another epoch, and notes
// where: positions of the old epoch still have a meaning.

// Head is where a log is now, and how it came there.
type Head struct {
	ws.Position
	Forks []Fork // the latest first
}

// Fork is where an epoch has ended.
type Fork struct {
	Epoch string
	At    uint64 // the last offset that the new epoch has of it
	Seen  uint64 // the last one that any node is known to have got
}

// MaxForks is how many forks of a log are remembered. Positions of older epochs mean nothing any more.
const MaxForks = 8

// from is what a position of this epoch, or of one before it, is in this epoch. lost: what followed there, or anywhere if the position means
// nothing, was seen by others, and no server has it any more.
func (h Head) from(p ws.Position) (here ws.Position, lost, ok bool) {
	if p.Epoch == h.Epoch {
		return p, false, true
	}
	here = ws.Position{Epoch: h.Epoch, Offset: p.Offset}
	for _, f := range h.Forks {
		here.Offset = min(here.Offset, f.At)
		if f.Epoch == p.Epoch {
			return here, lost || f.Seen > max(f.At, p.Offset), true
		}
		lost = lost || f.Seen > f.At
	}
	return ws.Position{}, lost, false
}

// before is Publication.Before.
func (h Head) before() []ws.Position {
	if len(h.Forks) == 0 {
		return nil
	}
	list := make([]ws.Position, len(h.Forks))
	for i, f := range h.Forks {
		list[i] = ws.Position{Epoch: f.Epoch, Offset: f.At}
	}
	return list
}

// behind is how much of the log now somebody has who is at h, which may itself come from epochs that the server has forgotten.
func (h Head) behind(now Head) (ws.Position, bool) {
	if here, _, ok := now.from(h.Position); ok {
		return here, true
	}
	for _, f := range h.Forks {
		if here, _, ok := now.from(ws.Position{Epoch: f.Epoch, Offset: f.At}); ok {
			return here, true
		}
	}
	return ws.Position{}, false
}

// covers reports whether somebody who is at h needs no message of that position.
func (h Head) covers(p ws.Position) bool {
	if p.Epoch == h.Epoch {
		return p.Offset <= h.Offset
	}
	for _, f := range h.Forks {
		if f.Epoch == p.Epoch {
			return true // of a server that was replaced
		}
	}
	return false
}

// ParseForks reads EPOCH:AT:SEEN, with a semicolon between two.
func ParseForks(text string) (forks []Fork, ok bool) {
	for text != "" && len(forks) < MaxForks {
		var one string
		one, text, _ = strings.Cut(text, ";")
		epoch, numbers, _ := strings.Cut(one, ":")
		at, seen, _ := strings.Cut(numbers, ":")
		f := Fork{Epoch: epoch}
		var err, err2 error
		f.At, err = strconv.ParseUint(at, 10, 64)
		f.Seen, err2 = strconv.ParseUint(seen, 10, 64)
		if epoch == "" || err != nil || err2 != nil {
			return nil, false
		}
		forks = append(forks, f)
	}
	return forks, true
}
