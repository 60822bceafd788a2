package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// guest is a plugin of plugins-wasm that stands in the way of every request.
type guest struct {
	name    string
	tools   []string
	compile func(ctx context.Context, w *workspace, g *guest, out string) *exec.Cmd
	proof   [2]string // a header that the guest adds to every answer, and its value
}

var (
	hardening = guest{name: "hardening", tools: []string{"clang", "wasm-ld"}, compile: compileC,
		proof: [2]string{"X-Content-Type-Options", "nosniff"}}
	stamp = guest{name: "stamp", tools: []string{"go"}, compile: compileGo}
)

// build returns the path of the module, which is compiled once per run and readable by Edge.
func (g *guest) build(ctx context.Context, w *workspace) (string, error) {
	folder := filepath.Join(w.root, "plugins-wasm", g.name)
	if _, err := os.Stat(folder); err != nil {
		return "", fmt.Errorf("its source is missing: %w", err)
	}
	return w.buildOnce(g.name+".wasm", func(out string) *exec.Cmd { return g.compile(ctx, w, g, out) })
}

func compileC(ctx context.Context, w *workspace, g *guest, out string) *exec.Cmd {
	source := filepath.Join("plugins-wasm", g.name, g.name+".c")
	return exec.CommandContext(ctx, w.tool["clang"], "--target=wasm32-unknown-unknown", "-O2", "-nostdlib",
		"-Wl,--no-entry", "-Wl,--strip-all", "-o", out, source)
}

func compileGo(ctx context.Context, w *workspace, g *guest, out string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.tool["go"], "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./plugins-wasm/"+g.name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	return cmd
}
