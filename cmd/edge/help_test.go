package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/docs"
	"github.com/edge-server/edge/internal/testenv"
)

func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out, problem strings.Builder
	if code := run(t.Context(), args, &out, &problem); code != 0 {
		t.Fatalf("edge %v: %d %s", args, code, problem.String())
	}
	return out.String()
}

// TestEveryCommandHasItsPlace: no command of ours is left over at the end of the help.
func TestEveryCommandHasItsPlace(t *testing.T) {
	t.Parallel()
	help := printed(t, "--help")
	_, rest, found := strings.Cut(help, "Additional Commands:\n")
	rest, _, _ = strings.Cut(rest, "\n\n")
	for line := range strings.Lines(rest) {
		switch name := strings.Fields(line)[0]; name {
		case "completion", "help", "man", "version":
		default:
			t.Errorf("edge %s belongs to one of the groups in help.go", name)
		}
	}
	for _, g := range groups {
		if !strings.Contains(help, "\n"+g.title+"\n") {
			t.Errorf("the help has no group %q", g.title)
		}
	}
	if !found {
		t.Error(help)
	}
}

func TestSchemaIsPrinted(t *testing.T) {
	t.Parallel()
	if got := printed(t, "schema"); got != string(docs.Schema()) || !strings.Contains(got, `"title": "edge.yaml"`) {
		t.Errorf("edge schema: %.200s", got)
	}
}

// TestManualPage: it has every command, and two programs that show manual pages have nothing against it.
func TestManualPage(t *testing.T) {
	t.Parallel()
	text := printed(t, "man")
	for _, want := range []string{".TH EDGE 1 ", "\n.SS edge kv set STORE KEY [VALUE] [flags]\n", "\n.SS edge ui [flags]\n", `\fB\-c, \-\-config\fR`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	page := filepath.Join(testenv.Dir(t), "edge.1")
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lint := exec.Command(testenv.Tool(t, "mandoc", "apt-get install mandoc"), "-T", "lint", "-W", "warning", page)
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
	show := exec.Command(testenv.Tool(t, "man", "apt-get install man-db"), "--warnings", "-l", page)
	show.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C.UTF-8", "MANPAGER=cat")
	var shown, problem bytes.Buffer
	show.Stdout, show.Stderr = &shown, &problem
	if err := show.Run(); err != nil || problem.Len() > 0 || !strings.Contains(shown.String(), "edge - serve PHP applications") {
		t.Errorf("man: %v\n%s%.500s", err, problem.String(), shown.String())
	}
}
