package wasmhost

import (
	"context"
	"testing"
)

// TestCells: globals are where the engine and compiled code have them. A version of the engine that keeps them elsewhere fails
// here; plugins would go on with it, more slowly.
func TestCells(t *testing.T) {
	t.Parallel()
	l, p := fuzzLoader(t)
	g, err := l.load(p, minimal)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	inst, err := g.pool.get(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.pool.put(inst)
	b := &inst.budget
	for name, c := range map[string]*cell{"fuel": &b.fuel, "stack": &b.stack, "denied": &b.denied} {
		if c.bytes == nil {
			t.Fatalf("%s: not found", name)
		}
		before := c.get()
		c.set(12345)
		if got := c.global.Get(); got != 12345 {
			t.Errorf("%s: the engine has %d", name, got)
		}
		c.global.Set(54321)
		if got := c.get(); got != 54321 {
			t.Errorf("%s: the cell has %d", name, got)
		}
		c.set(before)
	}
}

// TestNearIsCounted: an instance that is near keeps its generation only until that is replaced.
func TestNearIsCounted(t *testing.T) {
	t.Parallel()
	l, p := fuzzLoader(t)
	g, err := l.load(p, minimal)
	if err != nil {
		t.Fatal(err)
	}
	p.swap(g)
	first, err := p.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.giveBack(first)
	second, err := p.take(t.Context())
	if err != nil || second != first || g.refs.Load() != 2 {
		t.Fatalf("took %p after %p: %v; %d are counted, want 2", second, first, err, g.refs.Load())
	}
	p.takeOut()
	select {
	case <-g.drained:
		t.Error("drained while an instance is in use")
	default:
	}
	g.giveBack(second)
	select {
	case <-g.drained:
	default:
		t.Errorf("not drained: %d are counted", g.refs.Load())
	}
	if inst, err := p.take(t.Context()); err != errNotThere {
		t.Errorf("took %v, %v of a plugin that was taken out", inst, err)
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
}
