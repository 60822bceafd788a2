package core

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
)

func adminOver(t *testing.T, size bytesize.Size) (adminStores, *kv.Front) {
	t.Helper()
	store, err := memory.New(kv.MemoryConfig{MaxSize: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	front := kv.Wrap("s", store, kv.DefaultLimits())
	return adminStores{&Edge{stores: map[string]kv.Store{"s": front, "plain": kv.Wrap("plain", withoutSets{store}, kv.DefaultLimits())}}}, front
}

// withoutSets is a driver without sorted sets.
type withoutSets struct{ kv.Store }

func (withoutSets) Can() kv.Can { return kv.CanTTL }

// TestAdminKeepsSortedSets: an export has them with their scores and their deadline, and an import makes them again.
func TestAdminKeepsSortedSets(t *testing.T) {
	t.Parallel()
	a, from := adminOver(t, 0)
	if _, err := from.ZAdd(t.Context(), "z", []kv.Ranked{{Member: "b\xff", Score: 2.5}, {Member: "a", Score: -1}}); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := from.Expire(t.Context(), []kv.Item{{Key: "z", Expires: end}}); err != nil {
		t.Fatal(err)
	}
	item, err := a.Get(t.Context(), "s", "z")
	if err != nil || !item.Found || len(item.Members) != 2 || !item.Expires.Equal(end) {
		t.Fatalf("get: %+v, %v", item, err)
	}
	b, to := adminOver(t, 0)
	if err := to.Set(t.Context(), []kv.Item{{Key: "z", Value: []byte("in the way")}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(t.Context(), "s", []admin.KVItem{item}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Get(t.Context(), "s", "z")
	if err != nil || len(got.Members) != 2 || got.Members[0].String() != "a" || got.Members[1].String() != "b\xff" || got.Members[1].Score != 2.5 ||
		!got.Expires.Equal(end) {
		t.Errorf("after the import: %+v, %v", got, err)
	}
	items := []admin.KVItem{item}
	if err := b.Set(t.Context(), "plain", items); err != nil || items[0].Found {
		t.Errorf("a driver without sorted sets took one: %+v, %v", items[0], err)
	}
}

// TestAdminSaysHowManyItStored when a store is full in the middle.
func TestAdminSaysHowManyItStored(t *testing.T) {
	t.Parallel()
	a, _ := adminOver(t, 2*bytesize.KiB)
	items := []admin.KVItem{{Key: "a"}, {Key: "b"}, {Key: "large", Value: make([]byte, 4096)}, {Key: "c"}}
	var failed *admin.KVError
	if err := a.Set(t.Context(), "s", items); !errors.As(err, &failed) || failed.Stored != 2 || failed.Unsure {
		t.Errorf("%+v, want 2 stored", failed)
	}
}
