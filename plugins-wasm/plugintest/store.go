package plugintest

import (
	"testing"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/kv"
)

// Store opens a KV driver as the server does for a store with the driver wasm; config is kv.NAME.config. The caller closes it.
func Store(t testing.TB, module string, config any, settings ...Setting) kv.Store {
	t.Helper()
	store, err := TryStore(t, module, config, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TryStore is Store for a configuration that is refused.
func TryStore(t testing.TB, module string, config any, settings ...Setting) (kv.Store, error) {
	t.Helper()
	d, err := Load(t, module, nil, settings...).OpenDriver(t.Context(), config)
	if err != nil {
		return nil, err
	}
	return core.NewPluginDriver(d), nil
}
