package wasmhost

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestDocumentedSignatures: docs/abi.md says of every function of Edge's own namespaces what the host has.
func TestDocumentedSignatures(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "abi.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("^\\| (`[a-z_`, ]+`) \\| ([^|]*→ [^|]*) \\|")
	module := ""
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "### "); ok {
			module = strings.TrimSpace(title)
		} else if strings.HasPrefix(line, "## ") {
			module = ""
		}
		match := row.FindStringSubmatch(line)
		if match == nil || !strings.HasPrefix(module, "edge_") {
			continue
		}
		for _, name := range regexp.MustCompile("[a-z_]+").FindAllString(match[1], -1) {
			documented[module+"."+name] = documentedSignature(match[2])
		}
	}
	for _, n := range namespaces()[1:] {
		for _, f := range n.functions {
			name := n.name + "." + f.name
			if got := documented[name]; got != letters(f.signature) && !(n.name == "edge_php_v1" && got == "") {
				t.Errorf("%s: the documentation has %q, the host %q", name, got, letters(f.signature))
			}
		}
	}
	for name := range documented {
		module, function, _ := strings.Cut(name, ".")
		if known := importsOf(module); known[function].results == nil {
			t.Errorf("%s is documented and does not exist", name)
		}
	}
}

func importsOf(module string) map[string]signature {
	for _, n := range namespaces() {
		if n.name == module {
			return n.signatures()
		}
	}
	return nil
}

// documentedSignature reads "h, key, len, delta i64 → 0".
func documentedSignature(text string) string {
	params, result, _ := strings.Cut(text, "→")
	sig := ""
	for param := range strings.SplitSeq(params, ",") {
		switch param = strings.TrimSpace(param); {
		case param == "":
		case strings.HasSuffix(param, " i64"):
			sig += "I"
		default:
			sig += "i"
		}
	}
	if strings.TrimSpace(result) == "i64" {
		return sig + ":I"
	}
	return sig + ":i"
}

func letters(s signature) string {
	out := ""
	for _, p := range s.params {
		out += map[bool]string{true: "I", false: "i"}[p == i64]
	}
	return fmt.Sprintf("%s:%s", out, map[bool]string{true: "I", false: "i"}[s.results[0] == i64])
}
