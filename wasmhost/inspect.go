package wasmhost

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const wasiModule = "wasi_snapshot_preview1"

// A wasm file begins "\0asm" and a version; the upper half of the version is the layer: 0 a core module, 1 a component.
var (
	wasmMagic       = []byte("\x00asm")
	coreVersion     = []byte{1, 0, 0, 0}
	componentSuffix = []byte{1, 0}
)

// checkHeader tells what bytes are that are not a core module, before the decoder does it less helpfully.
func checkHeader(module []byte) error {
	switch {
	case len(module) == 0:
		return errors.New("the file is empty")
	case len(module) < 8 || !bytes.Equal(module[:4], wasmMagic):
		return errors.New(`not a wasm module: it does not begin with "\0asm"; ` + guessed(module))
	case bytes.Equal(module[6:8], componentSuffix):
		return errors.New("this is a WebAssembly component, and Edge runs core modules: rebuild for wasm32-wasip1 as a reactor " +
			"(Go: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared; Rust: --crate-type cdylib --target wasm32-wasip1)")
	case !bytes.Equal(module[4:8], coreVersion):
		return fmt.Errorf("wasm version %x is unknown; Edge runs version 1", module[4:8])
	}
	return nil
}

// guessed says what people have instead of a module.
func guessed(content []byte) string {
	for _, known := range []struct{ begins, what string }{
		{"\x1f\x8b", "it is compressed: gunzip it"},
		{"version https://git-lfs", "it is the pointer that git keeps for a large file: git lfs pull brings the file"},
		{"<", "it looks like a web page: was the download refused?"},
		{"\x7fELF", "it is a program for this machine: build for wasm32-wasip1"},
	} {
		if bytes.HasPrefix(content, []byte(known.begins)) {
			return known.what
		}
	}
	return "a plugin is a compiled .wasm file, not .wat text or source"
}

// signature is the type of a function.
type signature struct{ params, results []api.ValueType }

func (s signature) String() string {
	return "(" + typeNames(s.params) + ") -> (" + typeNames(s.results) + ")"
}

func typeNames(types []api.ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = api.ValueTypeName(t)
	}
	return strings.Join(names, ", ")
}

func signatureOf(f api.FunctionDefinition) signature {
	return signature{f.ParamTypes(), f.ResultTypes()}
}

func (s signature) equal(o signature) bool {
	return slices.Equal(s.params, o.params) && slices.Equal(s.results, o.results)
}

func checkMemory(m wazero.CompiledModule) error {
	if _, ok := m.ExportedMemories()[abi.Memory]; !ok {
		return fmt.Errorf("export %q is missing: the host reads and writes strings in it (wat: (memory (export \"memory\") 1))", abi.Memory)
	}
	return nil
}

func exportNames(m wazero.CompiledModule) []string {
	var names []string
	for name := range m.ExportedFunctions() {
		names = append(names, name)
	}
	return names
}

// importHints explain imports of other worlds that people meet.
var importHints = map[string]string{
	"env": "a symbol that was not linked in; in C name it with import_module(\"http_handler\"), " +
		"AssemblyScript needs --use abort=",
	"wasi_unstable": "built for a WASI of before 2020; rebuild for wasm32-wasip1",
	"go":            "or gojs: built with GOOS=js; build with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared",
	"gojs":          "built with GOOS=js; build with GOOS=wasip1 GOARCH=wasm -buildmode=c-shared",
}

func checkImports(m wazero.CompiledModule, hosts map[string]map[string]signature) error {
	var errs []error
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		functions, known := hosts[module]
		if !known {
			hint := nearestHint(module, keys(hosts))
			if text := importHints[module]; text != "" {
				hint = ": " + text
			}
			errs = append(errs, fmt.Errorf("import %q.%q comes from a module that Edge does not provide (it has %s)%s",
				module, name, strings.Join(sortedKeys(hosts), ", "), hint))
			continue
		}
		want, known := functions[name]
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("import %q.%q does not exist%s", module, name, nearestHint(name, keys(functions))))
		case !signatureOf(f).equal(want):
			errs = append(errs, fmt.Errorf("import %q.%q has the type %s and must have %s", module, name, signatureOf(f), want))
		}
	}
	for _, mem := range m.ImportedMemories() {
		module, name, _ := mem.Import()
		errs = append(errs, fmt.Errorf("import of memory %q.%q: a plugin brings its own memory and exports it as %q (link without --import-memory)",
			module, name, abi.Memory))
	}
	return errors.Join(errs...)
}

// imports reports whether the module imports anything from the host module called name.
func imports(m wazero.CompiledModule, name string) bool {
	return slices.ContainsFunc(m.ImportedFunctions(), func(f api.FunctionDefinition) bool {
		module, _, _ := f.Import()
		return module == name
	})
}

func keys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	return names
}

func sortedKeys[V any](m map[string]V) []string {
	names := keys(m)
	slices.Sort(names)
	return names
}

// nearestHint is `; did you mean "x"?` for the known name that is closest, or "" when none is close.
func nearestHint(name string, known []string) string {
	best, bestDistance := "", min(len(name), 64)/3+1
	slices.Sort(known)
	for _, k := range known {
		if k == name || len(k) > 64 || len(name) > 64 {
			continue
		}
		if d := editDistance(name, k); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance counts insertions, deletions and substitutions.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
