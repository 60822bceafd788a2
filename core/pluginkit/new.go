// Package pluginkit is what `edge plugin` does for authors of plugins, without a server: it writes a new plugin with its SDK,
// builds it, says what a module is, and runs and measures it.
package pluginkit

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/edge-server/edge/sdk"
)

//go:embed all:templates
var templates embed.FS

// SDKFolder is where a new plugin has its SDK.
const SDKFolder = "edge-sdk"

// Kinds of new plugins.
func Kinds() []string { return []string{"middleware", "router", "origin", "kv", "ws", "cron"} }

// Languages of new plugins.
func Languages() []string { return sdk.Languages() }

// manifestFile is what a plugin says about itself: build puts it into the module.
const manifestFile = "manifest.json"

// validName is a file name, a crate and a module path all at once.
var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// New writes a plugin into the new folder dir, by whose base name it is called.
func New(dir, language, kind string) error {
	name := filepath.Base(dir)
	language, err := languageOf(language)
	if err != nil {
		return err
	}
	if kind, err = kindOf(kind); err != nil {
		return err
	}
	if err := checkName(name, language); err != nil {
		return err
	}
	if err := makeFolder(dir); err != nil {
		return err
	}
	words := wordsOf(name, language, kind)
	for _, part := range []string{language + "/common", language + "/" + kind} {
		if err := writeTemplates("templates/"+part, dir, words); err != nil {
			return err
		}
	}
	if err := writeTemplate("templates/README.md.tmpl", filepath.Join(dir, "README.md"), words); err != nil {
		return err
	}
	if language != "js" { // a script has no section for it
		if err := writeTemplate("templates/"+manifestFile+".tmpl", filepath.Join(dir, manifestFile), words); err != nil {
			return err
		}
	}
	return sdk.Export(language, filepath.Join(dir, SDKFolder), language == "rust") // its manifest names the examples
}

// writeTemplates writes what is below folder; a language without a folder of that name has nothing there.
func writeTemplates(folder, dir string, words *strings.Replacer) error {
	if _, err := fs.Stat(templates, folder); err != nil {
		return nil
	}
	return fs.WalkDir(templates, folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		target := words.Replace(strings.TrimSuffix(strings.TrimPrefix(file, folder+"/"), ".tmpl"))
		return writeTemplate(file, filepath.Join(dir, filepath.FromSlash(target)), words)
	})
}

func writeTemplate(file, target string, words *strings.Replacer) error {
	content, err := templates.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, []byte(words.Replace(string(content))), 0o644)
}

// wordsOf are what templates leave open. The file NAME.c is called by the crate: C and Zig files are included by name.
func wordsOf(name, language, kind string) *strings.Replacer {
	crate := strings.ReplaceAll(name, "-", "_")
	file := name
	if language == "c" || language == "zig" {
		file = crate
	}
	about, toolchain := kindTexts[kind], toolchainTexts[language]
	output := name + ".wasm"
	if language == "js" {
		output = name + ".js"
	}
	use := strings.ReplaceAll(about.use, "{{name}}", name)
	return strings.NewReplacer("{{name}}", name, "{{crate}}", crate, "NAME", file, "{{kind}}", kind, "{{language}}", toolchain.name, "{{what}}", about.what,
		"{{output}}", output, "{{needs}}", toolchain.needs, "{{test}}", toolchain.test, "{{try}}", about.try, "{{use}}", use)
}

var kindTexts = map[string]struct{ what, try, use string }{
	"middleware": {"middleware, which sees requests before the rest of the chain", "--request 'GET /' -H 'X-Name: panda'",
		"There it runs on every route; `http: {middleware: [{{name}}]}` says where in the chain."},
	"origin": {"an origin, which answers by itself", "--request 'GET /hello'",
		"A route leads to it: `http: {routes: [{match: {path: /hello}, wasm: {{name}}}]}`."},
	"router": {"a router, which decides where a request goes", "--request 'GET /old/page'",
		"`http: {routers: [{{name}}]}` asks it."},
	"cron": {"cron, which does something at intervals", "--tick", "Its clock starts with the server."},
	"kv": {"a KV driver, a store for others", "--kv 'set a 1' --kv 'get a'",
		"A store is made of it by `kv: {mine: {driver: wasm, plugin: {{name}}}}`; docs/plugins/kv-driver.md goes on from here."},
	"ws": {"a handler of WebSockets", "--message hi", "Connections come to it by `ws: {raw: {mine: {wasm: {{name}}}}}` and a route: `http: {routes: [{match: {path: /ws}, ws: mine}]}`."},
}

var toolchainTexts = map[string]struct{ name, needs, test string }{
	"go":   {"Go", "Go 1.24 or later", "go test                           # without a server"},
	"rust": {"Rust", "the packages rustc, cargo, lld and libstd-rust-dev-wasm32 of Debian, or rustup", "cargo test                        # without a server"},
	"c":    {"C", "the packages clang and lld of Debian", "make test                         # without a server"},
	"zig":  {"Zig", "Zig 0.17.1: pip install ziglang==0.17.1", "make test                         # without a server"},
	"assemblyscript": {"AssemblyScript", "Node 20 or later and, once, npm install",
		"node --test                       # without a server"},
	"js": {"JavaScript", "nothing, and is not needed: a script runs as it is", "node --test                       # without a server"},
}
