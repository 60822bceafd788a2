package wasmhost_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
	"github.com/edge-server/edge/wasmhost/trust"
)

// signer is somebody whose plugins are trusted.
type signer struct {
	t       *testing.T
	private ed25519.PrivateKey
	trust   []string
}

func newSigner(t *testing.T) signer {
	t.Helper()
	public, private, err := trust.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return signer{t, private, []string{trust.FormatPublicKey(public)}}
}

// sign puts a signature beside file for a plugin called name.
func (s signer) sign(file string, content []byte, name string) {
	s.t.Helper()
	signature, err := trust.Sign(content, name, s.private)
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, file+trust.Extension, signature)
}

// answering is a module that answers every request with a status of its own.
func answering(t *testing.T, status int) []byte {
	t.Helper()
	return wat{request: fmt.Sprintf("(call $set_status_code (i32.const %d))", status) + done}.compile(t)
}

// TestSignedPlugins: with plugins.trust nothing runs that was not signed, and what served before goes on.
func TestSignedPlugins(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	dir := testenv.Dir(t)
	file := filepath.Join(dir, "auth.wasm")
	first, second := answering(t, 201), answering(t, 202)
	write(t, file, first)
	cfg := wasmhost.Config{Dir: dir, Auto: true, Trust: s.trust, Modules: map[string]wasmhost.ModuleConfig{"auth": moduleConfig()}}

	refused := func(want string) {
		t.Helper()
		h, err := wasmhost.New(t.Context(), cfg, wasmhost.Options{Logger: discard})
		if err == nil {
			stop(t, h)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `plugin "auth"`) {
			t.Errorf("error = %v, want %q in it", err, want)
		}
	}
	refused("there is no " + file + ".sig")
	s.sign(file, first, "other")
	refused(`the signature is for a plugin called "other"`)
	newSigner(t).sign(file, first, "auth")
	refused("which is not trusted")
	write(t, file+".sig", bytes.Repeat([]byte("x"), 1<<20))
	refused("at most 4096")

	s.sign(file, first, "auth")
	var log testenv.Log
	h := host(t, cfg, wasmhost.Options{Logger: logger(&log, 0)})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, _ := h.Plugin("auth")
	server := serve(t, p.Middleware(echo))
	status := func() int { return do(t, server, "GET", "/", nil).StatusCode }
	if got := status(); got != 201 {
		t.Fatalf("status = %d", got)
	}

	write(t, file, second)
	testenv.Eventually(t, "the unsigned content is refused", func() bool { return p.Stats().Degraded != "" })
	if got := status(); got != 201 {
		t.Errorf("an unsigned content serves: %d", got)
	}
	s.sign(file, second, "auth")
	testenv.Eventually(t, "the signature arrives after the module", func() bool { return status() == 202 })
	if p.Stats().Degraded != "" {
		t.Errorf("degraded: %s", p.Stats().Degraded)
	}

	unnamed := filepath.Join(dir, "dropped.wasm")
	write(t, unnamed, first)
	testenv.Eventually(t, "an unnamed one is refused", func() bool { return strings.Contains(log.String(), "plugin=dropped") })
	if len(h.Unnamed()) != 0 {
		t.Error("an unnamed plugin runs without a signature")
	}
	s.sign(unnamed, first, "")
	testenv.Eventually(t, "it runs once it is signed", func() bool { return len(h.Unnamed()) == 1 })
}

// TestPinnedPlugin runs with the content that edge.yaml names, and with no other.
func TestPinnedPlugin(t *testing.T) {
	t.Parallel()
	module := answering(t, 201)
	cfg := moduleConfig()
	cfg.SHA256 = strings.ToUpper(fmt.Sprintf("%x", sha256.Sum256(module)))
	if got := do(t, serve(t, plugin(t, module, cfg, wasmhost.Options{}).Middleware(echo)), "GET", "/", nil); got.StatusCode != 201 {
		t.Errorf("status = %d", got.StatusCode)
	}
	cfg.SHA256 = strings.Repeat("0", 64)
	cfg.File = filepath.Join(testenv.Dir(t), "p.wasm")
	write(t, cfg.File, module)
	_, err := wasmhost.New(t.Context(), wasmhost.Config{Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}, wasmhost.Options{Logger: discard})
	if err == nil || !strings.Contains(err.Error(), "plugins.modules.p.sha256 asks for 0000") {
		t.Errorf("error = %v", err)
	}
}

// TestBadKeysInTheConfiguration are reported with their place.
func TestBadKeysInTheConfiguration(t *testing.T) {
	t.Parallel()
	cfg := moduleConfig()
	cfg.SHA256, cfg.OnError, cfg.Limits.Fuel, cfg.Limits.Stack, cfg.Limits.Calls, cfg.Limits.Time = "abc", "maybe", -1, 1, -1, -1
	err := wasmhost.Config{Dir: "d", Trust: []string{"ed25519:abc"}, Modules: map[string]wasmhost.ModuleConfig{"p": cfg}}.Validate()
	for _, want := range []string{`trust[0]: "ed25519:abc" is not a public key`, "modules.p.sha256: must be the 64", "modules.p.on_error: must be closed, open or bypass",
		"modules.p.limits.fuel: ", "modules.p.limits.stack: ", "modules.p.limits.calls: ", "modules.p.limits.time: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q in it", err, want)
		}
	}
}
