package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

var urlPattern = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

func TestPHPServerNeedsNoConfiguration(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.Dir(t)
	for name, text := range map[string]string{
		"public/index.php":       `<?php echo "front ", $_SERVER['REQUEST_URI'];`,
		"public/css/app.css":     "a {}",
		"public/admin/index.php": `<?php echo "admin";`,
		"public/.env":            "secret",
		"secret.php":             `<?php echo "secret";`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, text)
	}
	args := []string{"php-server", dir, "--listen", "127.0.0.1:0"}
	if os.Geteuid() == 0 {
		args = append(args, "--user", "root")
	}
	var said testenv.Log
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	testenv.Eventually(t, "edge php-server says where it serves", func() bool { return strings.Contains(said.String(), "Ctrl-C") })
	url := urlPattern.FindString(said.String())
	for path, want := range map[string]string{
		"/": "front /", "/blog/1?x=y": "front /blog/1?x=y", "/css/app.css": "a {}", "/admin/": "admin", "/.env": "front /.env",
		"/secret.php": "front /secret.php", "/%2e%2e/secret.php": "400 bad request: the path leaves the root\n",
	} {
		if _, body := get(t, url+path); body != want {
			t.Errorf("%s = %q, want %q", path, body, want)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("edge php-server ended with %v:\n%s", err, said.String())
	}
}

func TestPHPServerSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	for _, tt := range []struct{ dir, want string }{
		{testenv.Dir(t), "has neither public/index.php nor index.php"},
		{"/nowhere/at/all", "no such file or directory"},
	} {
		errs.Reset()
		if code := run(t.Context(), []string{"php-server", tt.dir}, &out, &errs); code != 1 || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("php-server %s: exit %d, %q", tt.dir, code, errs.String())
		}
	}
}
