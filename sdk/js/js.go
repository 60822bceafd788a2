// Package js carries the engine that runs plugins written in JavaScript: QuickJS, built for WebAssembly from the sources in
// engine/ and those that engine/Makefile names. README.md is for who writes such plugins.
package js

import _ "embed"

//go:embed engine.wasm
var engine []byte

// Engine is the module that a .js file runs in. It must not be changed.
func Engine() []byte { return engine }
