package wasmhost_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost"
)

// turn makes link lead to target in one step.
func turn(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// TestLinksThatTurn: no event of the plugin's file tells of these.
func TestLinksThatTurn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, dir string) // makes dir/plugins with p.wasm, which answers 201
		change  func(t *testing.T, dir string) // makes it answer 202
	}{
		"a ConfigMap of Kubernetes": {
			func(t *testing.T, dir string) {
				for i, version := range []string{"..1", "..2"} {
					os.MkdirAll(filepath.Join(dir, "plugins", version), 0o700)
					write(t, filepath.Join(dir, "plugins", version, "p.wasm"), answers(t, 201+i))
				}
				turn(t, "..1", filepath.Join(dir, "plugins/..data"))
				turn(t, "..data/p.wasm", filepath.Join(dir, "plugins/p.wasm"))
			},
			func(t *testing.T, dir string) { turn(t, "..2", filepath.Join(dir, "plugins/..data")) },
		},
		"the folder is a link to a release": {
			func(t *testing.T, dir string) {
				for i, release := range []string{"1", "2"} {
					os.MkdirAll(filepath.Join(dir, release), 0o700)
					write(t, filepath.Join(dir, release, "p.wasm"), answers(t, 201+i))
				}
				turn(t, "1", filepath.Join(dir, "plugins"))
			},
			func(t *testing.T, dir string) { turn(t, "2", filepath.Join(dir, "plugins")) },
		},
		"the file is a link to a build": {
			func(t *testing.T, dir string) {
				os.Mkdir(filepath.Join(dir, "plugins"), 0o700)
				write(t, filepath.Join(dir, "build"), answers(t, 201))
				turn(t, "../build", filepath.Join(dir, "plugins/p.wasm"))
			},
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "build"), answers(t, 202)) },
		},
	} {
		for _, isNamed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir := testenv.Dir(t)
				tt.prepare(t, dir)
				cfg := named()
				if isNamed {
					cfg = named("p")
				}
				cfg.Dir = filepath.Join(dir, "plugins")
				h := host(t, cfg, wasmhost.Options{})
				if err := h.Start(context.Background()); err != nil {
					t.Fatal(err)
				}
				f := &folder{t: t, dir: cfg.Dir, h: h}
				if got := f.status("p"); got != 201 {
					t.Fatalf("status = %d, want 201", got)
				}
				tt.change(t, dir)
				testenv.Eventually(t, "the new content serves", func() bool { return f.status("p") == 202 })

				// Events come from where the links lead now.
				if strings.Contains(name, "release") {
					f.write("q.wasm", answers(t, 203))
					if !isNamed {
						testenv.Eventually(t, "a plugin of the new folder serves", func() bool { return f.status("q") == 203 })
					}
				}
			})
		}
	}
}

// TestDegradedWhileTheFileIsNotWhatServes, and no longer than that.
func TestDegradedWhileTheFileIsNotWhatServes(t *testing.T) {
	t.Parallel()
	f := watchFolder(t, named("auth"), map[string][]byte{"auth.wasm": answers(t, 201), "b.wasm": answers(t, 202)})
	for _, name := range []string{"auth", "b"} {
		sound := read(t, filepath.Join(f.dir, name+".wasm"))
		status := f.status(name)

		f.write(name+".wasm", []byte("broken"))
		testenv.Eventually(t, "the broken file is noticed", func() bool { return strings.Contains(f.stats(name).Degraded, "cannot be loaded") })
		f.write(name+".wasm", sound)
		testenv.Eventually(t, "all is well", func() bool { return f.stats(name).Degraded == "" })

		os.Remove(filepath.Join(f.dir, name+".wasm"))
		turn(t, "nowhere", filepath.Join(f.dir, name+".wasm"))
		if name == "auth" {
			testenv.Eventually(t, "the dead link is noticed", func() bool { return strings.Contains(f.stats(name).Degraded, "is gone") })
			if got := f.status(name); got != status {
				t.Errorf("%s answers %d, want %d as before", name, got, status)
			}
		}
		f.write(name+".wasm", sound)
		testenv.Eventually(t, "all is well again", func() bool { return f.stats(name).Degraded == "" && f.status(name) == status })
	}
}
