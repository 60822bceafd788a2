package kvtest

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// A history is what clients asked and were answered, with the times; porcupine finds out whether there is an order of single steps
// that explains it.
type history struct {
	mu    sync.Mutex
	began time.Time
	ops   []porcupine.Operation
}

func (h *history) record(client int, input any, run func() any) {
	call := time.Since(h.began).Nanoseconds()
	output := run()
	back := time.Since(h.began).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: input, Call: call, Output: output, Return: back})
}

func (h *history) check(t *testing.T, model porcupine.Model) {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(model, h.ops, deadline) {
	case porcupine.Illegal:
		t.Errorf("a history of %d operations has no order that explains it", len(h.ops))
	case porcupine.Unknown:
		t.Errorf("the checker did not finish with %d operations within %s", len(h.ops), deadline)
	}
}

// registerInput is an operation on one key; what it means is said by kind.
type registerInput struct {
	kind     string // get, set, delete, increment, swap
	value    string
	expected string
}

// registerOutput is what it answered.
type registerOutput struct {
	value string
	found bool
	ok    bool
}

// register is the model of one key: its state is the value, or nothing.
type register struct {
	value string
	found bool
}

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(register), input.(registerInput), output.(registerOutput)
			switch in.kind {
			case "get":
				return out.found == s.found && (!s.found || out.value == s.value), s
			case "set":
				return true, register{in.value, true}
			case "delete":
				return true, register{}
			case "increment":
				n := int64(0)
				if s.found {
					n, _ = strconv.ParseInt(s.value, 10, 64)
				}
				delta, _ := strconv.ParseInt(in.value, 10, 64)
				sum := strconv.FormatInt(n+delta, 10)
				return out.value == sum, register{sum, true}
			default: // swap
				same := s.found && s.value == in.expected
				if !same {
					return !out.ok, s
				}
				return out.ok, register{in.value, true}
			}
		},
	}
}

func (f *fixture) read(t *testing.T, key string) registerOutput {
	items := []kv.Item{{Key: key}}
	if err := f.Get(f.ctx(), items); err != nil {
		t.Errorf("Get: %v", err)
	}
	return registerOutput{value: string(items[0].Value), found: items[0].Found}
}

func testLinearCounter(t *testing.T, f *fixture) {
	if !f.needs(kv.CanIncrement) {
		return
	}
	h := &history{began: time.Now()}
	f.clients(func(client int, rng *rand.Rand) {
		switch rng.IntN(8) {
		case 0:
			h.record(client, registerInput{kind: "delete"}, func() any {
				if err := f.Delete(f.ctx(), []kv.Item{{Key: "n"}}); err != nil {
					t.Errorf("Delete: %v", err)
				}
				return registerOutput{}
			})
		case 1, 2:
			h.record(client, registerInput{kind: "get"}, func() any { return f.read(t, "n") })
		default:
			delta := int64(rng.IntN(9) - 4)
			h.record(client, registerInput{kind: "increment", value: strconv.FormatInt(delta, 10)}, func() any {
				n, err := f.Increment(f.ctx(), "n", delta, time.Time{})
				if err != nil {
					t.Errorf("Increment: %v", err)
				}
				return registerOutput{value: strconv.FormatInt(n, 10)}
			})
		}
	})
	h.check(t, model())
}

var errOther = errors.New("another value")

func testLinearSwap(t *testing.T, f *fixture) {
	if !f.needs(kv.CanUpdate) {
		return
	}
	h := &history{began: time.Now()}
	f.clients(func(client int, rng *rand.Rand) {
		value := strconv.Itoa(rng.IntN(4))
		switch rng.IntN(8) {
		case 0:
			h.record(client, registerInput{kind: "set", value: value}, func() any {
				if err := f.Set(f.ctx(), []kv.Item{{Key: "r", Value: []byte(value)}}); err != nil {
					t.Errorf("Set: %v", err)
				}
				return registerOutput{}
			})
		case 1, 2:
			h.record(client, registerInput{kind: "get"}, func() any { return f.read(t, "r") })
		default:
			expected := strconv.Itoa(rng.IntN(4))
			h.record(client, registerInput{kind: "swap", value: value, expected: expected}, func() any {
				err := f.Update(f.ctx(), "r", func(old kv.Item) (kv.Item, error) {
					if !old.Found || string(old.Value) != expected {
						return old, errOther
					}
					return kv.Item{Value: []byte(value), Found: true}, nil
				})
				if err != nil && !errors.Is(err, errOther) {
					t.Errorf("Update: %v", err)
				}
				return registerOutput{ok: err == nil}
			})
		}
	})
	h.check(t, model())
}

// clients runs operations from several goroutines at once.
func (f *fixture) clients(operation func(client int, rng *rand.Rand)) {
	var wg sync.WaitGroup
	for client := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(client), uint64(time.Now().UnixNano())))
			for range testenv.Count(60, 300) {
				operation(client, rng)
			}
		})
	}
	wg.Wait()
}
