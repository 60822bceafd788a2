package wasmhost

import (
	"fmt"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/wasmhost/meter"
)

// footprint is what an instance of a module begins with, beside what all instances share.
type footprint struct {
	pages   uint64 // of linear memory
	tables  int
	entries uint64 // of tables, and of segments that are kept until the code copies them into one
}

// tableBytes is what the entries take. Those of a module whose code grows tables take twice as much: a table that grows moves, and
// is given room to grow again.
func (f footprint) tableBytes(grows bool) uint64 {
	if grows {
		return f.entries * meter.GrownEntrySize
	}
	return f.entries * meter.EntrySize
}

// maxPages is one page less than 4 GiB: with that one the engine takes the size of a memory, in 32 bits, for 0.
const maxPages = 1<<16 - 1

// roomOf is what linear memory and tables may take together. Memory comes in pages, so that tables of less than one are free.
func roomOf(limit bytesize.Size) uint64 { return uint64(limit) + uint64(pageSize) - 1 }

// pagesFor returns how many pages an instance may have beside its tables, or why it cannot begin.
func (f footprint) pagesFor(name string, limit bytesize.Size, grows bool) (uint32, error) {
	room, tables := roomOf(limit), f.tableBytes(grows)
	if tables <= room {
		if pages := min((room-tables)/uint64(pageSize), uint64(limit/pageSize), maxPages); f.pages <= pages {
			return uint32(pages), nil
		}
	}
	memory := bytesize.Size(f.pages) * pageSize
	if f.pages > maxPages {
		return 0, fmt.Errorf("an instance begins with %s of linear memory; at most %d pages of 64KiB are possible, so let it begin with less", memory, maxPages)
	}
	if f.entries == 0 {
		return 0, fmt.Errorf("limits.memory is %s, and an instance begins with %s of linear memory: raise plugins.modules.%s.limits.memory",
			limit, memory, name)
	}
	return 0, fmt.Errorf("limits.memory is %s, and an instance begins with %s of linear memory and %s for %d entries in %d tables: "+
		"raise plugins.modules.%s.limits.memory, or make the tables smaller",
		limit, memory, bytesize.Size(tables), f.entries, f.tables, name)
}

// tableBytes is what the instance's tables take now.
func (i *instance) tableBytes() uint64 {
	if i.tables != nil {
		return i.tables.Get()
	}
	return i.gen.start.tableBytes(false)
}
