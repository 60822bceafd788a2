package assemblyscript_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

// guests are compiled once: the compiler takes seconds for each.
var guests sync.Map // path below the SDK → *fixture

type fixture struct {
	once   sync.Once
	module []byte
}

func guest(t *testing.T, source string) string {
	t.Helper()
	found, _ := guests.LoadOrStore(source, &fixture{})
	f := found.(*fixture)
	f.once.Do(func() {
		module, err := os.ReadFile(testenv.ASGuest(t, "sdk/assemblyscript/"+source))
		if err != nil {
			t.Fatal(err)
		}
		f.module = module
	})
	if f.module == nil {
		t.Fatalf("%s was not compiled, see the test before", source)
	}
	out := filepath.Join(testenv.Dir(t), strings.TrimSuffix(filepath.Base(source), ".ts")+".wasm")
	if err := os.WriteFile(out, f.module, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.RunAll(t, guest(t, "conformance/conformance.ts"))
}

func TestDriver(t *testing.T) {
	t.Parallel()
	conformance.RunDriver(t, guest(t, "conformance/driver.ts"))
}

func TestExamples(t *testing.T) {
	t.Parallel()
	conformance.RunExamples(t, conformance.Examples{
		Language: "AssemblyScript",
		Hello:    guest(t, "examples/hello.ts"),
		APIKey:   guest(t, "examples/api-key.ts"),
		Rewrite:  guest(t, "examples/rewrite.ts"),
		Counter:  guest(t, "examples/counter.ts"),
		Numbers:  guest(t, "examples/numbers.ts"),
		Backend:  guest(t, "conformance/conformance.ts"),
	})
}

// TestUnderNode runs tests/ as the author of a plugin would, in the package's host for tests.
func TestUnderNode(t *testing.T) {
	t.Parallel()
	modules := testenv.Dir(t)
	testenv.Node(t)
	for _, example := range []string{"hello", "api-key", "rewrite", "counter", "numbers"} {
		built := guest(t, "examples/"+example+".ts")
		if err := os.Rename(built, filepath.Join(modules, example+".wasm")); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(testenv.Node(t), "--test", "tests/examples.test.js")
	cmd.Env = append(os.Environ(), "MODULES="+modules)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("node --test: %v\n%s", err, msg)
	}
}
