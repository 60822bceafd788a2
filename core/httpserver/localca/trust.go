package localca

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// System is the machine whose trust store is changed. Tests make one of a temporary folder and functions.
type System struct {
	// OS is a runtime.GOOS.
	OS string

	// Root is put before the absolute paths of stores; "" on a real machine.
	Root string

	// WriteFile puts a file that others may read in place, whole or not at all.
	WriteFile func(path string, text []byte) error

	// LookPath finds a program, as exec.LookPath does.
	LookPath func(name string) (string, error)

	// Run runs a program and returns what it has printed.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)
}

// ThisSystem is the machine that the process runs on.
func ThisSystem() System {
	return System{
		OS:        runtime.GOOS,
		WriteFile: ReplaceFile,
		LookPath:  exec.LookPath,
		Run: func(ctx context.Context, name string, args ...string) ([]byte, error) {
			return exec.CommandContext(ctx, name, args...).CombinedOutput()
		},
	}
}

// Report says what Install or Uninstall has done, for the user to read.
type Report struct {
	Changed bool
	Steps   []string
}

// Note tells of stores that Install does not reach.
const Note = "Firefox, and Chromium on Linux, keep stores of their own: import the certificate there as an authority."

// PermissionError means that the store belongs to root. Command does by hand what was refused.
type PermissionError struct {
	Command string
	Err     error
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("%v: this needs root; run: %s", e.Err, e.Command)
}

func (e *PermissionError) Unwrap() error { return e.Err }

// anchorDir is how a Linux distribution takes up a CA: a file in a folder, then a command.
type anchorDir struct {
	dir     string
	refresh []string // after a file was added
	forget  []string // after a file was removed
}

var anchorDirs = []anchorDir{
	// Debian, Ubuntu, Alpine
	{"/usr/local/share/ca-certificates", []string{"update-ca-certificates"}, []string{"update-ca-certificates", "--fresh"}},
	// Fedora, RHEL and kin
	{"/etc/pki/ca-trust/source/anchors", []string{"update-ca-trust", "extract"}, []string{"update-ca-trust", "extract"}},
	// openSUSE
	{"/etc/pki/trust/anchors", []string{"update-ca-certificates"}, []string{"update-ca-certificates"}},
	// Arch
	{"/etc/ca-certificates/trust-source/anchors", []string{"trust", "extract-compat"}, []string{"trust", "extract-compat"}},
}

// keychain is where macOS keeps what all users trust.
const keychain = "/Library/Keychains/System.keychain"

// Installed reports whether the system trusts the CA.
func (ca *CA) Installed(ctx context.Context, sys System) (bool, error) {
	if sys.OS == "darwin" {
		return ca.inKeychain(ctx, sys), nil
	}
	anchors, err := sys.anchors()
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(ca.anchor(sys, anchors))
	return err == nil && bytes.Equal(text, ca.PEM()), nil
}

// Install makes the system trust the CA, unless it does already. Without the permission it returns a *PermissionError.
func (ca *CA) Install(ctx context.Context, sys System) (Report, error) {
	installed, err := ca.Installed(ctx, sys)
	if err != nil {
		return Report{}, err
	}
	if installed {
		return Report{Steps: []string{"The system trusts the local CA already; nothing was changed."}}, nil
	}
	if sys.OS == "darwin" {
		return ca.security(ctx, sys, "add-trusted-cert", "-d", "-r", "trustRoot", "-k", keychain, ca.Path())
	}
	anchors, err := sys.anchors()
	if err != nil {
		return Report{}, err
	}
	path := ca.anchor(sys, anchors)
	if err := sys.WriteFile(path, ca.PEM()); err != nil {
		command := fmt.Sprintf("sudo install -m 0644 %s %s && sudo %s", quote(ca.Path()), quote(path), strings.Join(anchors.refresh, " "))
		return Report{}, needsRoot(fmt.Errorf("write %s: %w", path, err), command)
	}
	if err := sys.run(ctx, anchors.refresh); err != nil {
		// Without the file, the next attempt does not believe that all is done.
		return Report{}, errors.Join(err, os.Remove(path))
	}
	return Report{true, []string{"Wrote " + path + ".", "Ran " + strings.Join(anchors.refresh, " ") + "."}}, nil
}

// Uninstall takes the CA out of the system's store, if it is there. Without the permission it returns a *PermissionError.
func (ca *CA) Uninstall(ctx context.Context, sys System) (Report, error) {
	absent := Report{Steps: []string{"The local CA is not in the system's store; nothing was changed."}}
	if sys.OS == "darwin" {
		if !ca.inKeychain(ctx, sys) {
			return absent, nil
		}
		sum := sha1.Sum(ca.cert.Raw) // the name that security gives to certificates
		return ca.security(ctx, sys, "delete-certificate", "-t", "-Z", fmt.Sprintf("%X", sum), keychain)
	}
	anchors, err := sys.anchors()
	if err != nil {
		return Report{}, err
	}
	path := ca.anchor(sys, anchors)
	switch err := os.Remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		return absent, nil
	case err != nil:
		return Report{}, needsRoot(err, fmt.Sprintf("sudo rm %s && sudo %s", quote(path), strings.Join(anchors.forget, " ")))
	}
	if err := sys.run(ctx, anchors.forget); err != nil {
		return Report{}, err
	}
	return Report{true, []string{"Removed " + path + ".", "Ran " + strings.Join(anchors.forget, " ") + "."}}, nil
}

// anchor is the file of this CA in a store. Each CA has its own, so those of two projects do not replace each other.
func (ca *CA) anchor(sys System, anchors anchorDir) string {
	return filepath.Join(sys.Root, anchors.dir, "edge-local-ca-"+ca.Fingerprint()[:12]+".crt")
}

// anchors finds the store of this Linux distribution.
func (sys System) anchors() (anchorDir, error) {
	if sys.OS != "linux" {
		return anchorDir{}, fmt.Errorf("edge does not know the trust store of %s: import the certificate by hand", sys.OS)
	}
	for _, a := range anchorDirs {
		info, err := os.Stat(filepath.Join(sys.Root, a.dir))
		if err != nil || !info.IsDir() {
			continue
		}
		if _, err := sys.LookPath(a.refresh[0]); err == nil {
			return a, nil
		}
	}
	return anchorDir{}, errors.New("this machine has no trust store that edge knows: install the package ca-certificates")
}

func (sys System) run(ctx context.Context, command []string) error {
	out, err := sys.Run(ctx, command[0], command[1:]...)
	if err != nil {
		return fmt.Errorf("run %s: %w\n%s", strings.Join(command, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// inKeychain looks for the certificate by its hash.
func (ca *CA) inKeychain(ctx context.Context, sys System) bool {
	out, err := sys.Run(ctx, "security", "find-certificate", "-a", "-Z", keychain)
	return err == nil && bytes.Contains(bytes.ToLower(out), []byte(ca.Fingerprint()))
}

// security changes the keychain of macOS.
func (ca *CA) security(ctx context.Context, sys System, args ...string) (Report, error) {
	command := append([]string{"security"}, args...)
	if err := sys.run(ctx, command); err != nil {
		// security does not say in its exit code that only root may do this, so the command is given for every error.
		return Report{}, &PermissionError{Command: "sudo " + quoteAll(command), Err: err}
	}
	return Report{true, []string{"Ran " + quoteAll(command) + "."}}, nil
}

func needsRoot(err error, command string) error {
	if errors.Is(err, fs.ErrPermission) {
		return &PermissionError{Command: command, Err: err}
	}
	return err
}

// ReplaceFile writes a file that others may read; it is there whole or not at all.
func ReplaceFile(path string, text []byte) error {
	temp, err := writeTemp(filepath.Dir(path), text, 0o644)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// quote makes a word safe to paste into a shell.
func quote(word string) string {
	if word != "" && strings.IndexFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@", r)
	}) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
