package conformance

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// RunCoverage tests that the guest at path uses every function of docs/abi.md: compilers leave out what nothing calls, so a function
// that the guest does not import is one that the SDK lacks, or that the table does not ask for.
func RunCoverage(t *testing.T, path string) {
	t.Helper()
	module := modules(path, nil)["plain"]
	r := wasmhost.Survey("plain", wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"plain": module}}, wasmhost.Options{Logger: slog.New(slog.DiscardHandler)})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	used := map[string]bool{}
	for _, i := range r.Imports {
		for _, function := range i.Functions {
			used[i.Module+"."+function] = true
		}
	}
	all := documented(t)
	if len(all) < 60 {
		t.Fatalf("docs/abi.md has the functions %q: far too few", all)
	}
	for _, function := range all {
		if !used[function] && !slices.Contains(notUsed, function) {
			t.Errorf("the guest does not use %s", function)
		}
	}
}

// notUsed are functions that SDKs need not have: abi is a number that a plugin which was loaded knows, since the host has checked it.
var notUsed = []string{abi.CoreModule + "." + abi.ABIVersion}

var quoted = regexp.MustCompile("`([a-z_]+)`")

// documented are the functions of the tables of docs/abi.md. wasmhost tests that these are the host's.
func documented(t *testing.T) (functions []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "abi.md"))
	if err != nil {
		t.Fatal(err)
	}
	module := ""
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "## Functions of http_handler"):
			module = abi.HostModule
		case strings.HasPrefix(line, "### edge_"):
			module = strings.TrimSpace(strings.TrimPrefix(line, "### "))
		case strings.HasPrefix(line, "#"):
			module = ""
		}
		if module == "" || !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, name := range quoted.FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			export := module == abi.WSModule && strings.HasPrefix(name[1], "ws_")
			if function := module + "." + name[1]; !export && !slices.Contains(functions, function) {
				functions = append(functions, function)
			}
		}
	}
	return functions
}
