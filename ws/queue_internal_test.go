package ws

import (
	"math/rand/v2"
	"testing"
)

// TestQueue compares queues with lists, in an order of calls that nobody has thought of.
func TestQueue(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	var q queue
	var model []item
	to := make([]item, 200)
	for step := range 200_000 {
		most := 1 << (step / 10_000 % 9)
		switch n := random.IntN(12); {
		case n < 6 && len(model) < most:
			it := item{&Prepared{plain: make([]byte, 1+random.IntN(50))}, random.IntN(3) > 0}
			q.push(it)
			model = append(model, it)
		case n < 9:
			bytes := random.IntN(500)
			got := q.pop(to[:1+random.IntN(len(to))], bytes)
			for i, it := range to[:got] {
				if it != model[i] {
					t.Fatalf("seed %d: step %d: item %d is another one", seed, step, i)
				}
				if bytes -= len(it.m.plain); i > 0 && bytes < 0 {
					t.Fatalf("seed %d: step %d: too much", seed, step)
				}
			}
			if got == 0 && len(model) > 0 {
				t.Fatalf("seed %d: step %d: nothing came", seed, step)
			}
			model = model[got:]
		case n < 11:
			i := 0
			for i < len(model) && !model[i].droppable {
				i++
			}
			if dropped := q.dropOldest(); dropped != (i < len(model)) {
				t.Fatalf("seed %d: step %d: %v", seed, step, dropped)
			} else if dropped {
				model = append(model[:i:i], model[i+1:]...)
			}
		case random.IntN(50) == 0:
			q.clear()
			model = nil
		}
		bytes := 0
		for _, it := range model {
			bytes += len(it.m.plain)
		}
		if q.len() != len(model) || q.bytes() != bytes || q.rest != nil && len(model) < 2 {
			t.Fatalf("seed %d: step %d: %d items of %d bytes, want %d of %d", seed, step, q.len(), q.bytes(), len(model), bytes)
		}
	}
	q.clear()
	for range 10 {
		if b := backlogs.Get().(*backlog); b.items != nil || b.first != 0 || b.bytes != 0 || b.room != [backlogRoom]item{} {
			t.Fatalf("seed %d: what was given back holds something: %+v", seed, b)
		}
	}
}
