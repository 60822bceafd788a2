package kv

import "errors"

// validateWasm checks the keys of the driver wasm.
func (c Config) validateWasm() error {
	switch {
	case c.Driver == "wasm" && c.Plugin == "":
		return errors.New("plugin: must name the plugin that keeps the data, one of plugins.modules or of the plugin folder")
	case c.Driver != "wasm" && c.Plugin != "":
		return errors.New("plugin: only a store with the driver wasm has one; write driver: wasm, or remove the key")
	case c.Driver != "wasm" && c.Config != nil:
		return errors.New("config: only a store with the driver wasm hands it to somebody; write driver: wasm, or remove the key")
	}
	return nil
}
