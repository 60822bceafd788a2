package pluginkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-server/edge/sdk/abi"
)

// Project is a folder with the source of a plugin.
type Project struct {
	Dir      string // absolute
	Name     string
	Language string
}

// marks tell a language from the files of a folder, the first that is there; tests do not count.
var marks = []struct{ pattern, test, language string }{
	{"Cargo.toml", "", "rust"}, {"*.rs", "", "rust"}, {"*.zig", "", "zig"}, {"*.ts", ".test.ts", "assemblyscript"}, {"*.go", "_test.go", "go"},
	{"*.c", "_test.c", "c"}, {"*.js", ".test.js", "js"},
}

// OpenProject finds out what the folder dir holds.
func OpenProject(dir string) (Project, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Project{}, err
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return Project{}, fmt.Errorf("there is no folder %s; edge plugin new writes a plugin", dir)
	case err != nil:
		return Project{}, fmt.Errorf("the folder of the plugin: %w", err)
	case !info.IsDir():
		return Project{}, fmt.Errorf("%s is a file: name the folder that it is in", dir)
	}
	for _, mark := range marks {
		found, _ := filepath.Glob(filepath.Join(dir, mark.pattern))
		if slices.ContainsFunc(found, func(file string) bool { return mark.test == "" || !strings.HasSuffix(file, mark.test) }) {
			return Project{Dir: dir, Name: filepath.Base(dir), Language: mark.language}, nil
		}
	}
	return Project{}, fmt.Errorf("%s has no source that can be built: Cargo.toml, or .rs, .go, .c, .zig, .ts or .js files", dir)
}

// Output is where the built plugin goes unless said otherwise: into the folder itself.
func (p Project) Output() string { return filepath.Join(p.Dir, p.Name+p.extension()) }

func (p Project) extension() string {
	if p.Language == "js" {
		return ".js"
	}
	return ".wasm"
}

// Build makes the plugin and puts it at out in one step, so that a server which watches the folder never sees a half of it.
// What the compiler says goes to log.
func (p Project) Build(ctx context.Context, out string, log io.Writer) error {
	out, err := filepath.Abs(out) // the compiler runs in another folder
	if err != nil {
		return err
	}
	if p.Language == "js" {
		return p.copyScript(out)
	}
	scratch, err := os.MkdirTemp(filepath.Dir(out), ".edge-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	built := filepath.Join(scratch, p.Name+p.extension())
	cmd, err := p.compiler(ctx, built)
	if err != nil {
		return err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %s: %w; its messages are above%s", p.Name, filepath.Base(cmd.Path), err, p.wrongVersion(ctx, cmd))
	}
	if p.hasCargo() {
		if built, err = p.cargoOutput(); err != nil {
			return err
		}
	}
	return p.finish(built, out)
}

// finish puts the manifest into the module, if there is one, and the module in its place.
func (p Project) finish(built, out string) error {
	module, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	file := filepath.Join(p.Dir, manifestFile)
	manifest, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !json.Valid(manifest):
		return fmt.Errorf("%s is not JSON", file)
	default:
		module = abi.AppendManifest(module, manifest)
	}
	return replace(out, module)
}

// copyScript is Build for a script, which runs as it is.
func (p Project) copyScript(out string) error {
	source, err := p.source(".js", ".test.js")
	if err != nil {
		return err
	}
	return install(source, out)
}

// compiler is the command that makes built.
func (p Project) compiler(ctx context.Context, built string) (*exec.Cmd, error) {
	switch p.Language {
	case "go":
		return p.goBuild(ctx, built)
	case "rust":
		if !p.hasCargo() {
			return p.rustc(ctx, built)
		}
		return p.cargo(ctx)
	case "c":
		return p.clang(ctx, built)
	case "zig":
		return p.zig(ctx, built)
	default:
		return p.asc(ctx, built)
	}
}

// missing says what is not there and how to get it.
func (p Project) missing(tool, how string) error {
	return fmt.Errorf("%s is written in %s, and building it needs %s, which is not installed: %s", p.Name, toolchainTexts[p.Language].name, tool, how)
}

// goBuild takes TinyGo if EDGE_TINYGO names it: the same source becomes a hundredth in size, with less of the standard library.
func (p Project) goBuild(ctx context.Context, built string) (*exec.Cmd, error) {
	if name := os.Getenv("EDGE_TINYGO"); name != "" {
		return p.tinygo(ctx, name, built)
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		return nil, p.missing("go 1.24 or later", "apt-get install golang-go where that is new enough (Debian 13), else https://go.dev/dl")
	}
	cmd := exec.CommandContext(ctx, tool, "build", "-buildmode=c-shared", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", built, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "CGO_ENABLED=0")
	return cmd, nil
}

// tinygo pins scheduler and collector: those of the target's defaults cost 200 µs a call, or may be none.
func (p Project) tinygo(ctx context.Context, name, built string) (*exec.Cmd, error) {
	tool, err := exec.LookPath(name)
	if err != nil {
		return nil, p.missing("the TinyGo of EDGE_TINYGO ("+name+")", "https://tinygo.org/getting-started/install, or leave EDGE_TINYGO empty to build with Go")
	}
	cmd := exec.CommandContext(ctx, tool, "build", "-target=wasip1", "-buildmode=c-shared", "-scheduler=none", "-gc=precise", "-no-debug", "-panic=print", "-o", built, ".")
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	return cmd, nil
}

const rustTarget = "wasm32-unknown-unknown"

func (p Project) cargo(ctx context.Context) (*exec.Cmd, error) {
	rustc, cargo := findRust(ctx)
	if cargo == "" {
		return nil, p.missing("cargo with the target "+rustTarget,
			"apt-get install rustc cargo lld libstd-rust-dev-wasm32, or with rustup: rustup target add "+rustTarget)
	}
	cmd := exec.CommandContext(ctx, cargo, "build", "--release", "--target", rustTarget, "--target-dir", filepath.Join(p.Dir, "target"))
	cmd.Env = append(os.Environ(), "RUSTC="+rustc)
	if _, err := os.Stat(filepath.Join(p.Dir, ".cargo", "config.toml")); err != nil {
		cmd.Env = append(cmd.Env, "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=-C link-arg=-zstack-size=65536")
	}
	return cmd, nil
}

func (p Project) hasCargo() bool { return isFile(filepath.Join(p.Dir, "Cargo.toml")) }

// rustc builds a plugin that is a file, with the crate beside it.
func (p Project) rustc(ctx context.Context, built string) (*exec.Cmd, error) {
	compiler, _ := findRust(ctx)
	if compiler == "" {
		return nil, p.missing("rustc with the target "+rustTarget,
			"apt-get install rustc lld libstd-rust-dev-wasm32, or with rustup: rustup target add "+rustTarget)
	}
	source, err := p.source(".rs", "_test.rs")
	if err != nil {
		return nil, err
	}
	sdk := p.sdk("rust", filepath.Join("src", "lib.rs"))
	if sdk == "" {
		return nil, fmt.Errorf("%s: there is no %s/src/lib.rs: edge sdk export writes it", p.Name, SDKFolder)
	}
	flags := []string{"--edition", "2021", "--target", rustTarget, "-C", "opt-level=3", "-C", "panic=abort"}
	crate := filepath.Join(filepath.Dir(built), "libedge_guest.rlib")
	first := exec.CommandContext(ctx, compiler, append(flags[:len(flags):len(flags)], "--crate-type", "rlib", "--crate-name", "edge_guest",
		"--cfg", `feature="std"`, "--cfg", `feature="alloc"`, "-o", crate, filepath.Join(sdk, "src", "lib.rs"))...)
	if message, err := first.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the SDK for %s: %w\n%s", p.Name, err, message)
	}
	return exec.CommandContext(ctx, compiler, append(flags, "--crate-type", "cdylib", "-C", "lto", "-C", "strip=symbols",
		"-C", "link-arg=-zstack-size=65536", "--extern", "edge_guest="+crate, "-o", built, source)...), nil
}

// findRust returns a compiler that has the target, and the cargo beside it. Debian's has the target as a package; one that
// rustup has put in front of it in PATH may lack it.
func findRust(ctx context.Context) (rustc, cargo string) {
	for _, candidate := range []string{os.Getenv("RUSTC"), "rustc", "/usr/bin/rustc"} {
		path, err := exec.LookPath(candidate)
		if err != nil {
			continue
		}
		libraries, err := exec.CommandContext(ctx, path, "--print", "target-libdir", "--target", rustTarget).Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(strings.TrimSpace(string(libraries))); err != nil {
			continue
		}
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(path), "cargo")); err == nil {
			return path, beside
		}
		if cargo, err := exec.LookPath("cargo"); err == nil {
			return path, cargo
		}
	}
	return "", ""
}

// cargoOutput is what cargo built: by the crate's name if that is the folder's, else the only module there is.
func (p Project) cargoOutput() (string, error) {
	release := filepath.Join(p.Dir, "target", rustTarget, "release")
	named := filepath.Join(release, strings.ReplaceAll(p.Name, "-", "_")+".wasm")
	if _, err := os.Stat(named); err == nil {
		return named, nil
	}
	modules, _ := filepath.Glob(filepath.Join(release, "*.wasm"))
	if len(modules) != 1 {
		return "", fmt.Errorf("%s: cargo left %d modules in %s: Cargo.toml needs a [lib] with crate-type = [\"cdylib\"], named as the folder is", p.Name, len(modules), release)
	}
	return modules[0], nil
}

func (p Project) clang(ctx context.Context, built string) (*exec.Cmd, error) {
	tool, err := exec.LookPath("clang")
	if err != nil {
		return nil, p.missing("clang", "apt-get install clang lld")
	}
	linker, err := exec.CommandContext(ctx, tool, "-print-prog-name=wasm-ld").Output()
	if _, lookErr := exec.LookPath(strings.TrimSpace(string(linker))); err != nil || lookErr != nil {
		return nil, p.missing("wasm-ld, the linker that clang calls", "apt-get install lld")
	}
	source, err := p.source(".c", "_test.c")
	if err != nil {
		return nil, err
	}
	args := []string{"--target=wasm32-unknown-unknown", "-O2", "-Wall", "-Wextra", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", "-o", built, source}
	if sdk := p.sdk("c", "edge.h"); sdk != "" {
		args = append(args, "-I"+sdk)
	}
	return exec.CommandContext(ctx, tool, args...), nil
}

func (p Project) zig(ctx context.Context, built string) (*exec.Cmd, error) {
	command := findZig(ctx)
	if command == nil {
		return nil, p.missing("zig 0.17.1", "no package of Debian has it: pip install ziglang==0.17.1, or set EDGE_ZIG to the program")
	}
	source, err := p.source(".zig", "_test.zig")
	if err != nil {
		return nil, err
	}
	sdk := p.sdk("zig", "edge.zig")
	if sdk == "" {
		return nil, fmt.Errorf("%s: there is no %s/edge.zig: edge sdk export writes it", p.Name, SDKFolder)
	}
	args := append(command[1:], "build-exe", "-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fno-entry", "-rdynamic", "--stack", "65536",
		"-femit-bin="+built)
	args = append(args, zigModules(source, filepath.Join(sdk, "edge.zig"), filepath.Join(filepath.Dir(p.Dir), "shared"))...)
	return exec.CommandContext(ctx, command[0], args...), nil
}

// zigModules are what a plugin may import: the SDK, and files that it shares with its neighbours, each by its name.
func zigModules(source, sdk, shared string) []string {
	files, _ := filepath.Glob(filepath.Join(shared, "*.zig"))
	args := []string{"--dep", "edge"}
	for _, file := range files {
		args = append(args, "--dep", strings.TrimSuffix(filepath.Base(file), ".zig"))
	}
	args = append(args, "-Mroot="+source)
	for _, file := range files {
		args = append(args, "--dep", "edge", "-M"+strings.TrimSuffix(filepath.Base(file), ".zig")+"="+file)
	}
	return append(args, "-Medge="+sdk)
}

// findZig is a program in EDGE_ZIG or in PATH, or the package of PyPI.
func findZig(ctx context.Context) []string {
	for _, candidate := range []string{os.Getenv("EDGE_ZIG"), "zig"} {
		if path, err := exec.LookPath(candidate); err == nil {
			return []string{path}
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil || exec.CommandContext(ctx, python, "-m", "ziglang", "version").Run() != nil {
		return nil
	}
	return []string{python, "-m", "ziglang"}
}

func (p Project) asc(ctx context.Context, built string) (*exec.Cmd, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, p.missing("node 20 or later", "apt-get install nodejs npm where that is new enough (Debian 13), or https://nodejs.org")
	}
	compiler := p.findASC()
	if compiler == "" {
		return nil, p.missing("the compiler assemblyscript 0.28.20", "run npm install in "+p.Dir+" (apt-get install npm), or set EDGE_ASC to an asc.js")
	}
	source, err := p.source(".ts", ".test.ts")
	if err != nil {
		return nil, err
	}
	sdk := p.sdk("assemblyscript", filepath.Join("bin", "edge-asc.js"))
	if sdk == "" {
		return nil, fmt.Errorf("%s: there is no %s/bin/edge-asc.js: edge sdk export writes it", p.Name, SDKFolder)
	}
	relative, err := filepath.Rel(p.Dir, built) // the compiler takes absolute paths for relative ones
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, node, filepath.Join(sdk, "bin", "edge-asc.js"), filepath.Base(source), "--outFile", relative)
	cmd.Env = append(os.Environ(), "EDGE_ASC="+compiler)
	return cmd, nil
}

// findASC is the compiler of EDGE_ASC, of the folder or one above, or of PATH.
func (p Project) findASC() string {
	if compiler := os.Getenv("EDGE_ASC"); compiler != "" {
		return compiler
	}
	for dir := p.Dir; ; dir = filepath.Dir(dir) {
		compiler := filepath.Join(dir, "node_modules", "assemblyscript", "bin", "asc.js")
		if _, err := os.Stat(compiler); err == nil {
			return compiler
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	found, err := exec.LookPath("asc")
	if err != nil {
		return ""
	}
	compiler, err := filepath.EvalSymlinks(found)
	if err != nil || filepath.Base(compiler) != "asc.js" {
		return ""
	}
	return compiler
}

// source is the file to compile: NAME.ext, main.ext, or the only one that is no test.
func (p Project) source(ext, test string) (string, error) {
	for _, name := range []string{p.Name, strings.ReplaceAll(p.Name, "-", "_"), "main"} {
		if file := filepath.Join(p.Dir, name+ext); isFile(file) {
			return file, nil
		}
	}
	all, _ := filepath.Glob(filepath.Join(p.Dir, "*"+ext))
	all = slices.DeleteFunc(all, func(file string) bool { return strings.HasSuffix(file, test) })
	if len(all) != 1 {
		return "", fmt.Errorf("%s: which of the %d %s files is the plugin? Call it %s%s", p.Name, len(all), ext, p.Name, ext)
	}
	return all[0], nil
}

// sdk is the folder of the SDK that has file: that of the plugin, or of a checkout of Edge around it.
func (p Project) sdk(language, file string) string {
	if own := filepath.Join(p.Dir, SDKFolder); isFile(filepath.Join(own, file)) {
		return own
	}
	for dir := p.Dir; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if shared := filepath.Join(dir, "sdk", language); isFile(filepath.Join(shared, file)) {
			return shared
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// install puts a copy of the file built at out in one step.
func install(built, out string) error {
	if built == out {
		return nil
	}
	content, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	return replace(out, content)
}

// replace gives the file at out a new content in one step.
func replace(out string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(out), ".edge-built-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), out)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
