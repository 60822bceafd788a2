package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// names is an edge.yaml whose names shells can complete.
const names = `version: 1
http: {routes: [{match: {path: /chat}, ws: room}]}
kv: {alpha: {driver: memory}, beta: {driver: memory}}
php: {app: {command: php}}
ws: {raw: {room: {php: app}}}
`

// inShell runs a script of a shell that finds this edge in its PATH, in a folder with an edge.yaml.
func inShell(t *testing.T, shell, script string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.Dir(t)
	writeFile(t, filepath.Join(dir, "edge.yaml"), names)
	file := filepath.Join(dir, "script")
	writeFile(t, file, script)
	cmd := exec.Command(shell, file)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "TERM=xterm")
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", shell, err, out, problem.String())
	}
	return string(out)
}

// TestCompletionInBash asks the functions that a real bash calls on Tab.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	bash := testenv.Tool(t, "bash", "apt-get install bash")
	if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); err != nil {
		testenv.Missing(t, "bash-completion", "apt-get install bash-completion")
	}
	out := inShell(t, bash, `
source /usr/share/bash-completion/bash_completion
source <(edge completion bash)
compopt() { :; } # works inside of a completion alone
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMPREPLY=(); __start_edge; echo "$*:" "${COMPREPLY[@]}"; }
try edge rel
try edge kv get ''
try edge kv get b
try edge kv get alpha ''
try edge ws send ''
try edge plugin new x --lang r
try edge serve --d
try edge status ''
`)
	for _, want := range []string{
		"edge rel: reload", "edge kv get : alpha beta", "edge kv get b: beta", "edge kv get alpha :", "edge ws send : room", "edge plugin new x --lang r: rust",
		"edge serve --d: --dev", "edge status :",
	} {
		if !slices.Contains(strings.Split(strings.ReplaceAll(out, " \n", "\n"), "\n"), want) {
			t.Errorf("bash: no line %q in\n%s", want, out)
		}
	}
}

// TestCompletionInFish asks fish what it would offer.
func TestCompletionInFish(t *testing.T) {
	t.Parallel()
	out := inShell(t, testenv.Tool(t, "fish", "apt-get install fish"), `
edge completion fish | source
complete -C "edge kv get "
complete -C "edge relo"
complete -C "edge status "
`)
	if want := "alpha\nbeta\nreload\tApply edge.yaml, new PHP code and new plugins without losing a request\n"; out != want {
		t.Errorf("fish: %q, want %q", out, want)
	}
}

// TestCompletionInZsh presses Tab in a zsh on a terminal of its own.
func TestCompletionInZsh(t *testing.T) {
	t.Parallel()
	out := inShell(t, testenv.Tool(t, "zsh", "apt-get install zsh"), `
zmodload zsh/zpty
zpty -b z zsh -f -i
got=
await() {
  local chunk
  for n in {1..600}; do
    while zpty -r -t z chunk; do got+=$chunk; done
    [[ $got == *$1* ]] && return 0
    sleep 0.05
  done
  print -r -- "no $1 in: $got"
  exit 1
}
zpty -w z "autoload -U compinit; compinit -u -d $PWD/dump; source <(edge completion zsh); echo RE''ADY"
await READY
zpty -w -n z $'edge kv get \t\t'
await alpha
await beta
print good
zpty -d z
`)
	if out != "good\n" {
		t.Errorf("zsh: %s", out)
	}
}

// TestBrokenConfigCompletesNothing: neither an error nor names of files.
func TestBrokenConfigCompletesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testenv.Dir(t), "edge.yaml")
	writeFile(t, path, "kv: [")
	var out, problem strings.Builder
	if code := run(t.Context(), []string{"__complete", "-c", path, "kv", "get", ""}, &out, &problem); code != 0 || out.String() != ":4\n" {
		t.Errorf("%d %q %s", code, out.String(), problem.String())
	}
}
