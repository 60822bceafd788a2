package core

import (
	"errors"
	"testing"
	"time"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/sdk/abi"
)

// TestForeignCursorsOfPlugins are the guest's mistake, not the store's.
func TestForeignCursorsOfPlugins(t *testing.T) {
	t.Parallel()
	store, err := memory.New(kv.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(t.Context()) })
	for _, cursor := range []string{"foreign", "-1", "99999999"} {
		if _, _, err := PluginStore(store).Scan(t.Context(), "", []byte(cursor), 10); !errors.Is(err, abi.ErrInvalid) || !errors.Is(err, kv.ErrCursor) {
			t.Errorf("%s: %v", cursor, err)
		}
	}
	e, err := PluginStore(store).Get(t.Context(), "k")
	if err != nil || e.Found || e.TTL > time.Minute {
		t.Errorf("%+v, %v", e, err)
	}
}
