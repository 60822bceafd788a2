package localca_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/httpserver/localca"
)

// machine is a system in a temporary folder that notes the commands it is to run.
type machine struct {
	localca.System
	ran  []string
	fail error
	out  string
}

func newMachine(t *testing.T, goos string, folders ...string) *machine {
	t.Helper()
	m := &machine{}
	m.System = localca.System{
		OS:        goos,
		Root:      t.TempDir(),
		WriteFile: localca.ReplaceFile,
		LookPath:  func(name string) (string, error) { return "/usr/sbin/" + name, nil },
		Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
			m.ran = append(m.ran, strings.Join(append([]string{name}, args...), " "))
			return []byte(m.out), m.fail
		},
	}
	for _, f := range folders {
		if err := os.MkdirAll(filepath.Join(m.Root, f), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *machine) expectRan(t *testing.T, want ...string) {
	t.Helper()
	if strings.Join(m.ran, "; ") != strings.Join(want, "; ") {
		t.Errorf("ran %q, want %q", m.ran, want)
	}
	m.ran = nil
}

func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, folder, install, uninstall string }{
		{"Debian", "/usr/local/share/ca-certificates", "update-ca-certificates", "update-ca-certificates --fresh"},
		{"Fedora", "/etc/pki/ca-trust/source/anchors", "update-ca-trust extract", "update-ca-trust extract"},
		{"openSUSE", "/etc/pki/trust/anchors", "update-ca-certificates", "update-ca-certificates"},
		{"Arch", "/etc/ca-certificates/trust-source/anchors", "trust extract-compat", "trust extract-compat"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ca := open(t, t.TempDir())
			m := newMachine(t, "linux", c.folder)
			files := func() []string {
				list, _ := filepath.Glob(filepath.Join(m.Root, c.folder, "*"))
				return list
			}
			for round, changed := range []bool{true, false} { // the second time nothing is left to do
				report, err := ca.Install(t.Context(), m.System)
				if err != nil || report.Changed != changed || len(report.Steps) == 0 {
					t.Fatalf("install %d: %+v, %v", round, report, err)
				}
				if text, err := os.ReadFile(files()[0]); len(files()) != 1 || err != nil || string(text) != string(ca.PEM()) {
					t.Errorf("install %d left %q", round, files())
				}
			}
			m.expectRan(t, c.install)
			if ok, err := ca.Installed(t.Context(), m.System); !ok || err != nil {
				t.Errorf("installed: %t, %v", ok, err)
			}
			for round, changed := range []bool{true, false} {
				report, err := ca.Uninstall(t.Context(), m.System)
				if err != nil || report.Changed != changed || len(files()) != 0 {
					t.Fatalf("uninstall %d: %+v, %v, files %q", round, report, err, files())
				}
			}
			m.expectRan(t, c.uninstall)
		})
	}
}

func TestInstallWithoutPermission(t *testing.T) {
	t.Parallel()
	ca := open(t, t.TempDir())
	m := newMachine(t, "linux", "/usr/local/share/ca-certificates")
	m.WriteFile = func(path string, _ []byte) error { // tests may run as root, whom no folder refuses
		return &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	_, err := ca.Install(t.Context(), m.System)
	var denied *localca.PermissionError
	if !errors.As(err, &denied) {
		t.Fatalf("got %v", err)
	}
	if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(denied.Command, "sudo install -m 0644 "+ca.Path()+" ") || !strings.HasSuffix(denied.Command, " && sudo update-ca-certificates") {
		t.Errorf("the advice is %q", denied.Command)
	}
	m.expectRan(t)
}

func TestInstallThatFailsHalfWayIsTriedAgain(t *testing.T) {
	t.Parallel()
	ca := open(t, t.TempDir())
	m := newMachine(t, "linux", "/usr/local/share/ca-certificates")
	m.fail, m.out = errors.New("exit status 1"), "disk full"
	if _, err := ca.Install(t.Context(), m.System); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
	m.fail = nil
	if report, err := ca.Install(t.Context(), m.System); err != nil || !report.Changed {
		t.Errorf("the second attempt: %+v, %v", report, err)
	}
}

func TestUnknownStore(t *testing.T) {
	t.Parallel()
	ca := open(t, t.TempDir())
	if _, err := ca.Install(t.Context(), newMachine(t, "linux").System); err == nil || !strings.Contains(err.Error(), "ca-certificates") {
		t.Errorf("got %v", err)
	}
	if _, err := ca.Install(t.Context(), newMachine(t, "plan9").System); err == nil || !strings.Contains(err.Error(), "plan9") {
		t.Errorf("got %v", err)
	}
}

func TestMacOS(t *testing.T) {
	t.Parallel()
	ca := open(t, t.TempDir())
	m := newMachine(t, "darwin")
	const keychain = "/Library/Keychains/System.keychain"
	find := "security find-certificate -a -Z " + keychain
	if _, err := ca.Install(t.Context(), m.System); err != nil {
		t.Fatal(err)
	}
	m.expectRan(t, find, "security add-trusted-cert -d -r trustRoot -k "+keychain+" "+ca.Path())

	m.out = "SHA-256 hash: " + strings.ToUpper(ca.Fingerprint())
	if report, err := ca.Install(t.Context(), m.System); err != nil || report.Changed {
		t.Errorf("%+v, %v", report, err)
	}
	m.expectRan(t, find)
}
