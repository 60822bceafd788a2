// Embed puts a manifest into a module: embed MODULE.wasm manifest.json. See docs/abi.md, "The manifest".
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/edge-server/edge/sdk/abi"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: embed MODULE.wasm manifest.json")
		os.Exit(2)
	}
	if err := embed(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func embed(module, manifest string) error {
	code, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	if !json.Valid(text) {
		return fmt.Errorf("%s is no JSON", manifest)
	}
	return os.WriteFile(module, abi.AppendManifest(code, text), 0o644)
}
