package core

import (
	"context"
	"slices"
	"testing"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

// TestAdminKeepsTags: what an export reads with its tags, an import puts under them again; a driver that has none goes without.
func TestAdminKeepsTags(t *testing.T) {
	t.Parallel()
	open := func(name string) *kv.Front {
		store, err := memory.New(kv.MemoryConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		if name == "plain" {
			return kv.Wrap(name, withoutAdd{store}, kv.DefaultLimits())
		}
		return kv.Wrap(name, store, kv.DefaultLimits())
	}
	from, to := open("from"), open("to")
	a := adminStores{&Edge{stores: map[string]kv.Store{"from": from, "to": to, "plain": open("plain")}}}
	ctx := t.Context()
	if err := from.SetTagged(ctx, kv.Item{Key: "k", Value: []byte("v")}, []string{"red", "blue"}); err != nil {
		t.Fatal(err)
	}
	if err := from.Set(ctx, []kv.Item{{Key: "none", Value: []byte("n")}}); err != nil {
		t.Fatal(err)
	}
	var items []admin.KVItem
	for _, key := range []string{"k", "none"} {
		item, err := a.Get(ctx, "from", key)
		if err != nil || !item.Found {
			t.Fatalf("get %s: %+v, %v", key, item, err)
		}
		items = append(items, item)
	}
	if !slices.Equal(items[0].Tags, []string{"red", "blue"}) || string(items[0].Value) != "v" || items[1].Tags != nil {
		t.Fatalf("got %+v", items)
	}
	for _, store := range []string{"to", "plain"} {
		batch := slices.Clone(items)
		if err := a.Set(ctx, store, batch); err != nil {
			t.Fatal(err)
		}
		if kept := len(batch[0].Tags) > 0; kept != (store == "to") {
			t.Errorf("%s kept tags: %v", store, kept)
		}
		if got, err := a.Get(ctx, store, "k"); err != nil || string(got.Value) != "v" {
			t.Errorf("%s has %+v, %v", store, got, err)
		}
	}
	if err := to.InvalidateTags(ctx, []string{"blue"}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"k": false, "none": true} {
		if item, err := a.Get(ctx, "to", key); err != nil || item.Found != want {
			t.Errorf("%s after the invalidation: %+v, %v", key, item, err)
		}
	}
}

type withoutAdd struct{ kv.Store }

func (withoutAdd) Can() kv.Can { return kv.CanTTL }
