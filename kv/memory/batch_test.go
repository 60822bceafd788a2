package memory_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

// TestWhatDoesNotFitIsToldFromItsNeighbours: of a row in a batch only what has no room fails, and what is answered is what is stored.
func TestWhatDoesNotFitIsToldFromItsNeighbours(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Put", "Add"} {
		store, err := memory.New(kv.MemoryConfig{MaxSize: 4 * bytesize.KiB})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close(context.Background())
		service := kv.NewService(map[string]kv.Store{"main": store})
		var ops []kv.Op
		for _, key := range []string{"a", "large", "b", "also large", "c"} {
			op := kv.Op{Op: method, Key: key, Value: []byte(key)}
			if len(key) > 1 {
				op.Value = make([]byte, 8<<10)
			}
			ops = append(ops, op)
		}
		r, err := service.Call(t.Context(), "Batch", &kv.Op{Storage: "main", Ops: ops})
		if err != nil {
			t.Fatal(err)
		}
		for i, one := range r.(*kv.Result).Results {
			fits := len(ops[i].Key) == 1
			items := []kv.Item{{Key: ops[i].Key}}
			if err := store.Get(t.Context(), items); err != nil {
				t.Fatal(err)
			}
			if one.OK != fits || (one.Error == "") != fits || one.Found || items[0].Found != fits {
				t.Errorf("%s %s: %+v, stored: %v", method, ops[i].Key, one, items[0].Found)
			}
		}
	}
}

// TestACacheSaysWhatIsTooLarge: there to delete other keys would not help.
func TestACacheSaysWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	store, err := memory.New(kv.MemoryConfig{MaxSize: 4 * bytesize.KiB, Mode: kv.ModeCache})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(context.Background())
	err = store.Set(t.Context(), []kv.Item{{Key: "k", Value: make([]byte, 8<<10)}})
	if !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), "more than all of max_size 4KiB") || strings.Contains(err.Error(), "delete") {
		t.Errorf("%v", err)
	}
}
