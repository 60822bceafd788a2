package examples

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// debian is a bare Debian in a folder.
type debian struct {
	t    *testing.T
	root string
}

func newDebian(t *testing.T) debian {
	t.Helper()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root", "packages are installed by root alone: sudo go test ./examples")
	}
	image := filepath.Join(testenv.Root(t), ".tools", "debian.tar")
	if _, err := os.Stat(image); err != nil {
		testenv.Missing(t, "debian.tar", "make deps unpacks a bare Debian into .tools/")
	}
	d := debian{t, testenv.Dir(t)}
	output(t, exec.Command("tar", "-xf", image, "-C", d.root))
	if err := os.Chmod(d.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

// run is a command in the Debian, by root; it must succeed.
func (d debian) run(args ...string) string {
	d.t.Helper()
	return output(d.t, d.command(args...))
}

func (d debian) command(args ...string) *exec.Cmd {
	cmd := exec.Command("chroot", append([]string{d.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "HOME=/root", "LC_ALL=C.UTF-8"}
	return cmd
}

// path is a file of the Debian, as this process sees it.
func (d debian) path(name string) string { return filepath.Join(d.root, name) }

func (d debian) has(name string) bool {
	_, err := os.Lstat(d.path(name))
	return err == nil
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// buildDeb makes the package as `make deb` does, of a binary that is the quickest to build.
func buildDeb(t *testing.T) string {
	t.Helper()
	nfpm, root, dist := testenv.Tool(t, "nfpm", "make deps builds it into .tools/"), testenv.Root(t), testenv.Dir(t)
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dist, "edge"), "./cmd/edge")
	build.Dir = root
	output(t, build)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := output(t, exec.Command(filepath.Join(dist, "edge"), "completion", shell))
		if err := os.WriteFile(filepath.Join(dist, "completion."+shell), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page := exec.Command("sh", "-c", `"$0" man | gzip -9n > "$1"`, filepath.Join(dist, "edge"), filepath.Join(dist, "edge.1.gz"))
	output(t, page)
	pack := exec.Command(nfpm, "package", "-f", "examples/deploy/package/nfpm.yaml", "-p", "deb", "-t", dist)
	pack.Dir, pack.Env = root, append(os.Environ(), "DIST="+dist, "ARCH="+runtime.GOARCH, "VERSION=1.2.3")
	output(t, pack)
	return filepath.Join(dist, "edge_1.2.3_"+runtime.GOARCH+".deb")
}

// TestDebianPackage is installed in a bare Debian, serves there as its unit says, keeps what an administrator has changed, and leaves
// nothing behind when it is purged.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	d, deb := newDebian(t), buildDeb(t)
	output(t, exec.Command("cp", deb, d.path("/tmp/edge.deb")))
	d.run("dpkg", "-i", "/tmp/edge.deb")

	if user := d.run("getent", "passwd", "edge"); !strings.Contains(user, ":/var/lib/edge:") || !strings.HasSuffix(user, "/nologin\n") {
		t.Errorf("the user is %q", user)
	}
	if got := d.run("stat", "-c", "%a %U", "/var/lib/edge", "/etc/default/edge"); got != "700 edge\n640 root\n" {
		t.Errorf("modes and owners are %q", got)
	}
	if conffiles := d.run("dpkg-query", "-W", "-f", "${Conffiles}", "edge"); !strings.Contains(conffiles, "/etc/edge/edge.yaml") || !strings.Contains(conffiles, "/etc/default/edge") {
		t.Errorf("conffiles are %q", conffiles)
	}
	if !d.has("/etc/systemd/system/multi-user.target.wants/edge.service") {
		t.Error("the unit is not enabled")
	}
	for _, file := range []string{"/usr/share/bash-completion/completions/edge", "/usr/share/man/man1/edge.1.gz", "/usr/share/edge/php/autoload.php", "/usr/share/doc/edge/copyright"} {
		if !d.has(file) {
			t.Errorf("there is no %s", file)
		}
	}
	unitHolds(t, d)
	serveAsUnit(t, d)

	changed := "# mine\n" + d.run("cat", "/etc/edge/edge.yaml")
	if err := os.WriteFile(d.path("/etc/edge/edge.yaml"), []byte(changed), 0o644); err != nil { //nolint:gosec // as the package has it
		t.Fatal(err)
	}
	d.run("dpkg", "-i", "/tmp/edge.deb")
	if d.run("cat", "/etc/edge/edge.yaml") != changed {
		t.Error("an upgrade replaced the configuration")
	}
	// As an administrator does who lets systemd hold the ports.
	d.run("mkdir", "-p", "/etc/systemd/system/sockets.target.wants")
	d.run("ln", "-s", "/lib/systemd/system/edge-http.socket", "/lib/systemd/system/edge-https.socket", "/etc/systemd/system/sockets.target.wants/")
	d.run("dpkg", "-r", "edge")
	if d.has("/usr/bin/edge") || d.has("/lib/systemd/system/edge.service") || !d.has("/etc/edge/edge.yaml") || !d.has("/var/lib/edge") {
		t.Error("the removal took too much or too little")
	}
	d.run("dpkg", "-P", "edge")
	if left := d.run("find", "/etc", "/var", "/usr", "/lib/systemd", "-xdev", "-name", "*edge*", "-not", "-path", "/var/log/*"); left != "" {
		t.Errorf("the purge left %s", left)
	}
}

// unitHolds lets systemd judge the units.
func unitHolds(t *testing.T, d debian) {
	t.Helper()
	analyze := testenv.Tool(t, "systemd-analyze", "apt-get install systemd")
	units := filepath.Join(testenv.Dir(t), "units")
	// The judge looks for the program on this machine.
	output(t, exec.Command("cp", "-r", d.path("/lib/systemd/system"), units))
	unit, err := os.ReadFile(filepath.Join(units, "edge.service"))
	if err != nil {
		t.Fatal(err)
	}
	here := strings.ReplaceAll(string(unit), "=/usr/bin/edge ", "="+d.path("/usr/bin/edge")+" ")
	if err := os.WriteFile(filepath.Join(units, "edge.service"), []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := exec.Command(analyze, "--man=no", "verify", "edge.service", "edge-http.socket", "edge-https.socket")
	verify.Dir, verify.Env = units, append(os.Environ(), "SYSTEMD_UNIT_PATH="+units+":")
	if out, err := verify.CombinedOutput(); err != nil || strings.Contains(string(out), "edge") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// serveAsUnit runs what the unit runs, as its user, with its files and a socket for notifications; there is no systemd in here to do so.
func serveAsUnit(t *testing.T, d debian) {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: d.path("/run/notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := os.Chmod(d.path("/run/notify"), 0o777); err != nil { //nolint:gosec // as systemd's is
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	asEdge := func(key string) *exec.Cmd {
		cmd := d.command(unitCommand(t, d, key)...)
		cmd.Args = slices.Insert(cmd.Args, 1, "--userspec=edge:edge")
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET=/run/notify", "JOURNAL_STREAM=8:1", "EDGE_HTTP__LISTEN=[{address: \""+address+"\"}]")
		return cmd
	}
	output(t, asEdge("ExecStartPre"))
	server, log := asEdge("ExecStart"), &testenv.Log{}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }() // ends with the server
	defer func() {
		_ = server.Process.Kill()
		<-ended
	}()

	told(t, socket, "READY=1", log)
	if body := getText(t, "http://"+address); !strings.HasPrefix(body, "Edge runs") {
		t.Errorf("it answers %q", body)
	}
	output(t, asEdge("ExecReload"))
	told(t, socket, "RELOADING=1", log)
	told(t, socket, "READY=1", log)
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told(t, socket, "STOPPING=1", log)
	select {
	case err := <-ended:
		ended <- nil
		if err != nil {
			t.Errorf("the end: %v\n%s", err, log)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("it does not end:\n%s", log)
	}
	if strings.Contains(log.String(), "Ctrl-C") {
		t.Errorf("the journal has hints for a terminal:\n%s", log)
	}
}

// unitCommand is a command line of edge.service.
func unitCommand(t *testing.T, d debian, key string) []string {
	t.Helper()
	unit, err := os.ReadFile(d.path("/lib/systemd/system/edge.service"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(unit)) {
		if command, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.Fields(command)
		}
	}
	t.Fatalf("the unit has no %s", key)
	return nil
}

// told waits for a notification of systemd that begins with state.
func told(t *testing.T, socket *net.UnixConn, state string, log *testenv.Log) {
	t.Helper()
	buf := make([]byte, 1<<10)
	if err := socket.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("systemd is not told %s: %v\n%s", state, err, log)
		}
		if strings.HasPrefix(string(buf[:n]), state) {
			return
		}
	}
}

// getText asks until there is an answer, and reads it.
func getText(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	for err != nil && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond) // nothing tells from outside when it listens
		res, err = client.Do(req)
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(body)
}
