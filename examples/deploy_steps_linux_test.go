package examples

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// TestContainerStepsSoak runs every step of the Dockerfiles, one after the other, as a container engine would, in folders with a bare Debian;
// then what the image starts, and its health check. There is no engine here: layers, the images' registries and the isolation are not tried.
// It downloads all modules and builds Edge twice, so that only `make containers` does it.
func TestContainerStepsSoak(t *testing.T) {
	if !testenv.Soak() {
		return
	}
	var files map[string][]image
	understood(t, &files, "Dockerfile", "php.Dockerfile")
	for file, want := range map[string]string{"Dockerfile": "Edge runs.", "php.Dockerfile": "Visit 1;"} {
		t.Run(file, func(t *testing.T) {
			built := map[string]*container{}
			var last *container
			for _, stage := range files[file] {
				last = newContainer(t, stage.Base)
				for _, c := range stage.Commands {
					t.Log(c.Source)
					last.step(c.Name, c.Source, built)
				}
				built[stage.Name] = last
			}
			last.serve(want)
		})
	}
}

// container is a stage of a Dockerfile while its steps are run.
type container struct {
	debian
	dir, user                string
	env                      []string
	entrypoint, cmd, healthy []string
}

// newContainer is what a base image has, as far as the steps need it.
func newContainer(t *testing.T, base string) *container {
	t.Helper()
	c := &container{dir: "/", user: "root"}
	switch {
	case strings.HasPrefix(base, "golang:"):
		c.debian = newDebian(t)
		goroot := strings.TrimSpace(output(t, exec.Command("go", "env", "GOROOT")))
		output(t, exec.Command("cp", "-r", goroot, c.path("/usr/local/go")))
		c.env = []string{"PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		output(t, exec.Command("cp", "/etc/ssl/certs/ca-certificates.crt", c.path("/etc/ssl/certs/ca-certificates.crt")))
		for _, name := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB"} { // as this machine reaches modules
			c.env = append(c.env, name+"="+strings.TrimSpace(output(t, exec.Command("go", "env", name))))
		}
	case strings.HasPrefix(base, "debian:"):
		c.debian = newDebian(t)
	default: // distroless: a user, and no program at all
		c.debian, c.user = debian{t, testenv.Dir(t)}, "65532:65532"
		for _, dir := range []string{"etc", "tmp", "home/nonroot"} {
			if err := os.MkdirAll(c.path(dir), 0o777); err != nil { //nolint:gosec // as in the image
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(c.path("etc/passwd"), []byte("nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"), 0o644); err != nil { //nolint:gosec // so too
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(c.root, 0o755), os.MkdirAll(c.path("proc"), 0o755), syscall.Mount("proc", c.path("proc"), "proc", 0, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the folder is removed
		if err := syscall.Unmount(c.path("proc"), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return c
}

// step runs one instruction.
func (c *container) step(name, source string, built map[string]*container) {
	c.t.Helper()
	rest := strings.TrimSpace(strings.TrimPrefix(source, name))
	switch name {
	case "WORKDIR":
		c.dir = rest
		if err := os.MkdirAll(c.path(rest), 0o755); err != nil { //nolint:gosec // as in the image
			c.t.Fatal(err)
		}
	case "RUN":
		c.output(rest)
	case "COPY":
		c.copy(strings.Fields(rest), built)
	case "USER":
		c.user = rest + ":" + rest
	case "ENTRYPOINT":
		c.entrypoint = words(rest)
	case "CMD":
		c.cmd = words(rest)
	case "HEALTHCHECK":
		_, check, _ := strings.Cut(rest, "CMD ")
		c.healthy = words(check)
	case "EXPOSE", "VOLUME":
	default:
		c.t.Fatalf("nobody knows how to run %s", source)
	}
}

// output runs a line of shell.
func (c *container) output(line string) {
	c.t.Helper()
	output(c.t, c.in("sh", "-c", line))
}

// in is a command in the container, in the folder and as the user of the moment.
func (c *container) in(args ...string) *exec.Cmd {
	path := args[0]
	if !filepath.IsAbs(path) {
		path = c.lookPath(path)
	}
	cmd := &exec.Cmd{Path: path, Args: args, Dir: c.dir, SysProcAttr: &syscall.SysProcAttr{Chroot: c.root, Credential: c.credential()}}
	cmd.Env = append(c.command().Env, c.env...)
	return cmd
}

// lookPath finds a program of the container.
func (c *container) lookPath(name string) string {
	for _, dir := range []string{"/usr/bin", "/bin"} {
		if c.has(filepath.Join(dir, name)) {
			return filepath.Join(dir, name)
		}
	}
	c.t.Fatalf("the image has no program %q", name)
	return ""
}

// copy puts files there: of the build context, which is what git has, or of another stage.
func (c *container) copy(args []string, built map[string]*container) {
	c.t.Helper()
	from, ownFiles := testenv.Root(c.t), true
	if stage, ok := strings.CutPrefix(args[0], "--from="); ok {
		from, ownFiles, args = built[stage].root, false, args[1:]
	}
	to := args[len(args)-1]
	if !filepath.IsAbs(to) {
		to = filepath.Join(c.dir, to)
	}
	for _, source := range args[:len(args)-1] {
		target := c.path(to)
		info, err := os.Stat(filepath.Join(from, source))
		if err != nil {
			c.t.Fatal(err)
		}
		switch {
		case ownFiles && source == ".":
			output(c.t, exec.Command("sh", "-c", fmt.Sprintf("cd %q && git ls-files -co --exclude-standard -z | tar --null --ignore-failed-read -T - -cf - | tar -C %q -xf -", from, target)))
		case info.IsDir():
			if err := os.MkdirAll(target, 0o755); err != nil { //nolint:gosec // as in the image
				c.t.Fatal(err)
			}
			output(c.t, exec.Command("cp", "-a", filepath.Join(from, source)+"/.", target))
		default:
			output(c.t, exec.Command("cp", "-a", filepath.Join(from, source), target))
		}
	}
}

// serve starts what the image starts, asks it for a page and for its health, and ends it.
func (c *container) serve(want string) {
	c.t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(c.t))
	c.env = append(c.env, "EDGE_HTTP__LISTEN=[{address: \""+address+"\"}]", "EDGE_TELEMETRY__METRICS={listen: \"127.0.0.1:0\"}")
	server, log := c.in(append(c.entrypoint, c.cmd...)...), &testenv.Log{}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }() // ends with the server
	testenv.Eventually(c.t, "it is healthy", func() bool {
		return c.in(c.healthy...).Run() == nil
	})
	if body := getText(c.t, "http://"+address); !strings.HasPrefix(body, want) {
		c.t.Errorf("it answers %q\n%s", body, log)
	}
	_ = server.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			c.t.Errorf("the end: %v\n%s", err, log)
		}
	case <-time.After(40 * time.Second):
		_ = server.Process.Kill()
		c.t.Errorf("it does not end:\n%s", log)
	}
}

// words are those of a list in JSON, such as ["edge", "serve"].
func words(list string) []string {
	var out []string
	for word := range strings.SplitSeq(strings.Trim(list, "[]"), ",") {
		out = append(out, strings.Trim(strings.TrimSpace(word), `"`))
	}
	return out
}

// credential is the user of the moment, by the container's own list.
func (c *container) credential() *syscall.Credential {
	name, _, _ := strings.Cut(c.user, ":")
	list, err := os.ReadFile(c.path("etc/passwd"))
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		fields := strings.Split(line, ":")
		if len(fields) > 3 && (fields[0] == name || fields[2] == name) {
			uid, _ := strconv.ParseUint(fields[2], 10, 32)
			gid, _ := strconv.ParseUint(fields[3], 10, 32)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	c.t.Fatalf("there is no user %q", name)
	return nil
}
