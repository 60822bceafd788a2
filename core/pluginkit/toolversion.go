package pluginkit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// toolVersions are how compilers say what version they are, and which ones build the SDKs. Zig changes its language with each
// version, so a later one is as wrong as an earlier one.
var toolVersions = map[string]struct {
	args         []string
	major, minor int
	exactly      bool
	get          string
}{
	"go":             {[]string{"version"}, 1, 24, false, "https://go.dev/dl"},
	"rust":           {[]string{"--version"}, 1, 63, false, "https://rustup.rs, then rustup target add " + rustTarget},
	"zig":            {[]string{"version"}, 0, 17, true, "pip install ziglang==0.17.1, or set EDGE_ZIG to the program"},
	"assemblyscript": {[]string{"--version"}, 20, 0, false, "https://nodejs.org"},
}

var versionNumber = regexp.MustCompile(`(\d+)\.(\d+)`)

// wrongVersion is what to say of a compiler that has failed and is of a version which the SDK is not for, else "". It is asked
// only then: the next version may well do.
func (p Project) wrongVersion(ctx context.Context, cmd *exec.Cmd) string {
	want, known := toolVersions[p.Language]
	if !known || p.Language == "go" && os.Getenv("EDGE_TINYGO") != "" { // whose numbers are others
		return ""
	}
	args := want.args
	if len(cmd.Args) > 2 && cmd.Args[1] == "-m" { // python3 -m ziglang
		args = append([]string{"-m", cmd.Args[2]}, args...)
	}
	asked := exec.CommandContext(ctx, cmd.Path, args...)
	asked.Dir = cmd.Dir // where go looks for go.mod, and rustup for its settings
	said, err := asked.Output()
	found := versionNumber.FindSubmatch(said)
	if err != nil || found == nil {
		return ""
	}
	major, _ := strconv.Atoi(string(found[1]))
	minor, _ := strconv.Atoi(string(found[2]))
	switch {
	case major == want.major && minor == want.minor,
		!want.exactly && (major > want.major || major == want.major && minor > want.minor):
		return ""
	}
	need := fmt.Sprintf("%d.%d or later", want.major, want.minor)
	if want.exactly {
		need = fmt.Sprintf("%d.%d", want.major, want.minor)
	}
	return fmt.Sprintf(". It needs version %s, and %s is %s: %s", need, cmd.Path, found[0], want.get)
}
