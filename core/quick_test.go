package core

import (
	"testing"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/rpc"
)

// TestMemoryIsQuick: what stands around the service kv must not hide that a look into memory needs no goroutine; a get would cost
// twice as much, and nothing else would show it.
func TestMemoryIsQuick(t *testing.T) {
	t.Parallel()
	store, err := memory.New(kv.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(t.Context()) })
	var handler rpc.Handler = newKVHandler(kv.NewService(map[string]kv.Store{"main": store}))
	quick, ok := handler.(rpc.Quick)
	if !ok {
		t.Fatal("the handler of kv hides rpc.Quick")
	}
	for method, want := range map[string]bool{"MGet": true, "Set": true, "Clear": false} {
		request, _ := handler.NewRequest(method)
		request.(*kv.Request).Storage = "main"
		if got := quick.Quick(method, request); got != want {
			t.Errorf("%s is quick: %v, want %v", method, got, want)
		}
	}
	request, _ := handler.NewRequest("Lock")
	request.(*kv.Op).Storage = "main"
	if quick.Quick("Lock", request) {
		t.Error("Lock waits and must not be quick")
	}
}
