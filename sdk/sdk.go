// Package sdk carries the SDKs for plugins in the binary, so that a new plugin builds without this repository and without a
// network. Each is a folder of this one.
package sdk

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed abi/*.go go/README.md go/edge
//go:embed rust/Cargo.toml rust/Cargo.lock rust/README.md rust/src rust/examples
//go:embed c/README.md c/edge.h c/edge_test.h c/examples
//go:embed zig/README.md zig/edge.zig zig/examples
//go:embed assemblyscript/README.md assemblyscript/package.json assemblyscript/assembly assemblyscript/bin assemblyscript/testing assemblyscript/examples
//go:embed js/README.md js/edge.d.ts js/examples
var files embed.FS

// goModule makes the Go SDK a module of its own, under the import path that it has here.
const goModule = "module github.com/edge-server/edge\n\ngo 1.24\n"

// Languages are those that there is an SDK for.
func Languages() []string { return []string{"go", "rust", "c", "assemblyscript", "zig", "js"} }

// Export writes the SDK of a language into dir, which is made. Of each file that is there already the content is replaced.
// Without examples, only what a build or an editor reads is written.
func Export(language, dir string, examples bool) error {
	if !slices.Contains(Languages(), language) {
		return fmt.Errorf("there is no SDK for %q: %s", language, strings.Join(Languages(), ", "))
	}
	if language == "go" {
		return exportGo(dir)
	}
	return copyTree(language, dir, func(name string) bool { return examples || !strings.HasPrefix(name, "examples") })
}

// exportGo writes the two folders of this repository that plugins import, where their import paths say.
func exportGo(dir string) error {
	source := func(name string) bool { return !strings.HasSuffix(name, "_test.go") }
	for _, folder := range []string{"abi", "go"} {
		if err := copyTree(folder, filepath.Join(dir, "sdk", folder), source); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte(goModule), 0o644)
}

// copyTree writes what is below folder and wanted; wanted is asked with the path below folder.
func copyTree(folder, dir string, wanted func(name string) bool) error {
	return fs.WalkDir(files, folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimPrefix(file, folder+"/")
		if !wanted(name) {
			return nil
		}
		content, err := files.ReadFile(file)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if path.Base(path.Dir(file)) == "bin" {
			mode = 0o755
		}
		return os.WriteFile(target, content, mode)
	})
}
