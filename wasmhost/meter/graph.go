package meter

import (
	"fmt"
	"slices"
)

// maxUncounted is how much of the native stack functions may take together that do not count: those that never come
// back to themselves.
const maxUncounted = 32 << 10

// analyze scans every function and finds those that have to keep edge.stack: those that may be called again before they
// return. The others can be on the stack once at most, and are counted only when they take much of it.
func (m *module) analyze() error {
	g := graph{
		edges:  make([][]uint32, len(m.code)),
		frames: make([]uint64, len(m.code)),
	}
	indirect := map[string][]uint32{} // callers through tables, by the type they call
	for i := range m.code {
		f, err := m.scan(i)
		if err != nil {
			return m.inFunction(i, err)
		}
		if g.frames[i] = f.frameSize(); g.frames[i] > maxFrame {
			return m.inFunction(i, fmt.Errorf("its frame takes %d bytes; at most %d are allowed", g.frames[i], maxFrame))
		}
		slices.Sort(f.calls)
		g.edges[i] = slices.Clone(slices.Compact(f.calls))
		slices.Sort(f.indirect)
		for _, t := range slices.Compact(f.indirect) {
			key := m.types[t].key()
			indirect[key] = append(indirect[key], uint32(i))
		}
	}
	m.addIndirect(&g, indirect)
	m.costs = g.costs(len(m.code))
	return nil
}

// addIndirect adds a node for each type that is called through tables, between its callers and whatever a table may hold
// of this type.
func (m *module) addIndirect(g *graph, callers map[string][]uint32) {
	held := map[string][]uint32{}
	for f := range m.escaping {
		if i := int64(f) - int64(len(m.imported)); i >= 0 && i < int64(len(m.defined)) {
			key := m.types[m.defined[i]].key()
			held[key] = append(held[key], uint32(i))
		}
	}
	for key, from := range callers {
		if len(held[key]) == 0 {
			continue
		}
		node := uint32(len(g.edges))
		g.edges = append(g.edges, held[key])
		g.frames = append(g.frames, 0)
		for _, caller := range from {
			g.edges[caller] = append(g.edges[caller], node)
		}
	}
}

// graph says who calls whom.
type graph struct {
	edges  [][]uint32
	frames []uint64 // bytes
}

// costs returns for the first n nodes what a call takes of edge.stack, 0 for those that need not count. It walks the
// groups of nodes that reach each other (Tarjan's algorithm, without recursion), which come out callees first.
func (g *graph) costs(n int) []uint32 {
	costs := make([]uint32, n)
	chain := make([]uint64, len(g.edges)) // what a node and those below it take that do not count
	g.groups(func(group []uint32) {
		recursive := len(group) > 1 || slices.Contains(g.edges[group[0]], group[0])
		for _, v := range group {
			if recursive {
				if int(v) < n {
					costs[v] = uint32(g.frames[v])
				}
				continue
			}
			below := uint64(0)
			for _, callee := range g.edges[v] {
				below = max(below, chain[callee])
			}
			if chain[v] = below + g.frames[v]; chain[v] > maxUncounted && int(v) < n {
				costs[v] = uint32(g.frames[v])
				chain[v] = below
			}
		}
	})
	return costs
}

func (g *graph) groups(found func([]uint32)) {
	type visit struct {
		node uint32
		next int // of its edges
	}
	const unseen = 0
	index := make([]uint32, len(g.edges)) // in order of discovery, from 1
	low := make([]uint32, len(g.edges))
	onStack := make([]bool, len(g.edges))
	var stack []uint32
	var visits []visit
	counter := uint32(0)
	discover := func(v uint32) {
		counter++
		index[v], low[v], onStack[v] = counter, counter, true
		stack = append(stack, v)
		visits = append(visits, visit{node: v})
	}
	for root := range g.edges {
		if index[root] != unseen {
			continue
		}
		discover(uint32(root))
		for len(visits) > 0 {
			at := &visits[len(visits)-1]
			v := at.node
			if at.next < len(g.edges[v]) {
				callee := g.edges[v][at.next]
				at.next++
				if index[callee] == unseen {
					discover(callee)
				} else if onStack[callee] {
					low[v] = min(low[v], index[callee])
				}
				continue
			}
			visits = visits[:len(visits)-1]
			if len(visits) > 0 {
				caller := visits[len(visits)-1].node
				low[caller] = min(low[caller], low[v])
			}
			if low[v] == index[v] {
				first := len(stack) - 1
				for stack[first] != v {
					first--
				}
				for _, member := range stack[first:] {
					onStack[member] = false
				}
				found(stack[first:])
				stack = stack[:first]
			}
		}
	}
}
