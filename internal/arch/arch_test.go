// Package arch holds the import picture of docs/architecture.md as a table that must hold.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

const module = "github.com/edge-server/edge/"

// rules say which packages of this module each folder may import, tests left out. The longest folder that matches decides.
// "x/..." is x and everything below it.
var rules = map[string][]string{
	"cmd/edge": {"core/...", "docs", "rpc", "internal/bytesize"}, // rpc for its client

	// The composition root knows everything.
	"core": {"core/...", "php", "php/fastcgi", "wasmhost", "rpc", "kv/...", "ws/...", "sdk/abi", "internal/bytesize", "internal/osproc", "internal/urlpath", "internal/origin"},

	// Parts of the server itself. Telemetry reads every feature's Stats.
	"core/acme":       {},
	"core/admin":      {},
	"core/admin/ui":   {},
	"core/compress":   {"internal/bytesize"},
	"core/configfile": {"internal/bytesize"},
	"core/edgetest":   {"core", "internal/testenv"},
	"core/forwarded":  {},
	"core/gcpace":     {},
	"core/httpcache":  {"kv", "internal/bytesize", "internal/httprange", "internal/origin"},
	"core/httpserver": {"core/httpserver/...", "core/acme", "core/upgrade", "internal/bytesize"},
	"core/middleware": {"core/compress", "internal/bytesize", "internal/httprange", "internal/urlpath"},
	"core/pluginkit":  {"core", "kv", "kv/memory", "sdk", "sdk/abi", "wasmhost/...", "internal/bytesize"}, // it is core without a server
	"core/ratelimit":  {"kv"},
	"core/guard":      {"core/configfile", "core/ratelimit", "core/routing", "internal/bytesize", "internal/origin"},
	"core/proxy":      {"internal/bytesize", "internal/origin", "internal/tlsclient", "internal/urlpath"},
	"core/routing":    {"core/configfile", "internal/urlpath"},
	"core/rrcompat":   {},
	"core/services":   {"internal/bytesize", "internal/osproc"},
	"core/upgrade":    {},
	"core/telemetry":  {"core/httpcache", "core/httpserver", "core/middleware", "core/services", "core/proxy", "php", "wasmhost", "rpc", "kv", "ws", "ws/mercure", "ws/pusher", "sdk/abi", "internal/bytesize", "core/guard"},

	// Features: what one needs from another it declares as an interface of its own, and core joins them.
	"php":       {"php/fastcgi", "internal/bytesize", "internal/frame", "internal/httprange", "internal/osproc", "internal/urlpath", "internal/origin"},
	"php/":      {},
	"rpc":       {"internal/bytesize", "internal/frame"},
	"kv":        {"internal/bytesize", "internal/tlsclient"},
	"kv/":       {"kv", "internal/bytesize"}, // drivers import their parent
	"kv/kvtest": {"kv", "internal/testenv"},
	"ws":        {"internal/bytesize"},
	"ws/":       {"ws", "ws/jwtkeys", "internal/bytesize", "internal/jsonproblem"}, // protocols and brokers import their parent
	"wasmhost":  {"sdk/abi", "sdk/js", "internal/bytesize", "wasmhost/meter", "wasmhost/trust", "internal/origin"},
	"wasmhost/": {},

	"ws/redis":      {"ws", "ws/fleet", "internal/tlsclient"}, // drivers of what they have in common
	"ws/nats":       {"ws", "ws/fleet", "internal/tlsclient"},
	"ws/brokertest": {"ws", "internal/testenv"},

	"sdk":                {},
	"sdk/abi":            {},
	"sdk/js":             {},
	"sdk/go":             {"sdk/abi", "sdk/go/edge/..."},
	"sdk/conformance":    {"sdk/abi", "wasmhost", "core/edgetest", "internal/bytesize", "internal/testenv"},
	"sdk/php":            {},
	"sdk/c":              {},
	"sdk/rust":           {},
	"sdk/zig":            {},
	"sdk/assemblyscript": {},
	"plugins-wasm":       {"sdk/go/edge/...", "plugins-wasm/shared/strict"},

	"plugins-wasm/embed":      {"sdk/abi"},
	"plugins-wasm/plugintest": {"sdk/abi", "core", "kv", "wasmhost", "internal/testenv"}, // for tests of plugins

	"docs":     {},
	"examples": {"sdk/go/edge"},

	"internal/arch":        {},
	"internal/bench":       {"core", "internal/exampleapp", "internal/frame", "kv", "kv/boltdb", "kv/memory", "kv/redis", "wasmhost"},
	"internal/browser":     {"internal/testenv"}, // for tests of pages
	"internal/bytesize":    {},
	"internal/exampleapp":  {},
	"internal/frame":       {},
	"internal/httprange":   {},
	"internal/jsonproblem": {},
	"internal/origin":      {},
	"internal/osproc":      {"internal/bytesize"},
	"internal/testenv":     {},
	"internal/tlsclient":   {},
	"internal/urlpath":     {},

	"internal/configschema": {"core", "core/configfile"}, // makes docs/edge.schema.json
}

// What only core/telemetry may import.
var telemetryOnly = []string{"github.com/prometheus/", "go.opentelemetry.io/"}

func TestImportsFollowTheArchitecture(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		allowed, rule, ok := ruleFor(folder)
		if !ok {
			t.Errorf("%s: the architecture names no such folder: add it to docs/architecture.md and to the table here, or move it", folder)
			continue
		}
		for _, imported := range p.Imports {
			for _, prefix := range telemetryOnly {
				if strings.HasPrefix(imported, prefix) && folder != "core/telemetry" {
					t.Errorf("%s must not import %s: expose Stats() and let core/telemetry read it", folder, imported)
				}
			}
			target, ours := strings.CutPrefix(imported, module)
			if ours && target != folder && !permits(allowed, target) {
				t.Errorf("%s must not import %s (rule %q): declare what you need as an interface in %s and let core join the two", folder, target, rule, folder)
			}
		}
	}
}

func ruleFor(folder string) (allowed []string, rule string, ok bool) {
	for prefix, list := range rules {
		dir := strings.TrimSuffix(prefix, "/")
		matches := folder == dir && dir == prefix || strings.HasPrefix(folder, dir+"/")
		if matches && len(prefix) > len(rule) {
			allowed, rule, ok = list, prefix, true
		}
	}
	return allowed, rule, ok
}

func permits(allowed []string, target string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		dir, below := strings.CutSuffix(a, "/...")
		return target == dir || below && strings.HasPrefix(target, dir+"/")
	})
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = testenv.Root(t)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 10 {
		t.Fatalf("go list found %d packages only", len(packages))
	}
	return packages
}

// heavy packages make the server larger without serving anybody: templates call methods by name, so that the linker has to keep every
// method of the whole program (a third of the memory of a small server), and gRPC comes with libraries that need none of it.
var heavy = []string{"html/template", "google.golang.org/grpc", "golang.org/x/net/trace"}

func TestTheBinaryHasNothingHeavy(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-deps", "./cmd/edge")
	cmd.Dir = testenv.Root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		if slices.Contains(heavy, path) {
			t.Errorf("cmd/edge links %s: find a way without it (go list -deps shows who imports it)", path)
		}
	}
}
