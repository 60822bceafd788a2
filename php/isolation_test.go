package php_test

import (
	"fmt"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// TestLimits looks at what the kernel says about a worker.
func TestLimits(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "/proc", "run on Linux")
	}
	w := setup(t, "app.php", func(c *php.Config, _ *php.Options) {
		c.Nice = 3
		c.Limits = php.Limits{OpenFiles: 321, Processes: 4321, AddressSpace: 8 << 30, FileSize: 1 << 20}
	})
	pid := w.pool.Workers()[0].PID
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	limits := strings.Join(strings.Fields(string(text)), " ")
	for _, want := range []string{"Max open files 321 321", "Max processes 4321 4321", "Max address space 8589934592 8589934592", "Max file size 1048576 1048576"} {
		if !strings.Contains(limits, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if own, theirs := niceOf(t, os.Getpid()), niceOf(t, pid); theirs != own+3 {
		t.Errorf("the worker's nice is %d, that of Edge %d", theirs, own)
	}
	w.expect("/status?n=200&body=hi", 200, "hi")
}

func niceOf(t *testing.T, pid int) (nice int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	if _, err := fmt.Sscan(strings.Fields(rest)[16], &nice); err != nil {
		t.Fatal(err)
	}
	return nice
}

// TestLimitsAreHit shows what becomes of a worker that wants more memory than address_space.
func TestLimitsAreHit(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		testenv.Missing(t, "prlimit", "run on Linux")
	}
	w := setup(t, "-d memory_limit=-1 app.php", func(c *php.Config, _ *php.Options) { c.Limits.AddressSpace = 512 << 20 })
	w.expectStatus("/eat?mb=1000", http.StatusBadGateway)
	w.expect("/status?n=200&body=hi", 200, "hi")
}

// TestGroup runs workers as a user with another group than its own.
func TestGroup(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root", "run as root")
	}
	group, err := user.LookupGroup("adm")
	if err != nil {
		testenv.Missing(t, "the group adm", "addgroup adm")
	}
	w := setup(t, "app.php", func(c *php.Config, o *php.Options) {
		c.User, c.Group = "", "adm" // www-data
		c.Dir = copied(t, c.Dir)
		o.TempDir = "" // one that others can enter
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pool.Workers()[0].PID))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(status)), " ")
	if want := fmt.Sprintf("Gid: %[1]s %[1]s %[1]s %[1]s", group.Gid); !strings.Contains(text, want) || strings.Contains(text, "Uid: 0 ") {
		t.Errorf("no %q, or root, in\n%s", want, status)
	}
	w.expect("/status?n=200&body=hi", 200, "hi")

	cfg := config(t, "app.php")
	cfg.Group = "nobody-has-this"
	if _, err := php.New("app", cfg, php.Options{}); err == nil || !strings.Contains(err.Error(), "groupadd") {
		t.Errorf("an unknown group: %v", err)
	}
}

// copied copies the scripts to where every user can read them.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := testenv.Dir(t)
	if err := os.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
	scripts, _ := filepath.Glob(filepath.Join(dir, "*.php"))
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(script)), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestMemoryOfThePool limits the workers by a cgroup where this machine lets us, and else is told why that is not so.
func TestMemoryOfThePool(t *testing.T) {
	t.Parallel()
	w := setup(t, "-d memory_limit=-1 app.php", func(c *php.Config, _ *php.Options) { c.Limits.Memory = 128 << 20 })
	const excuse = "limits.memory has no effect here"
	if strings.Contains(w.log.String(), excuse) {
		if n := strings.Count(w.log.String(), excuse); n != 1 || !strings.Contains(w.log.String(), "reason=") {
			t.Errorf("told %d times, or without the reason", n)
		}
		w.expect("/status?n=200&body=hi", 200, "hi")
		return
	}
	w.expectStatus("/eat?mb=500", http.StatusBadGateway)
	w.logged("out of memory, limits.memory of the pool is 128MiB")
	w.expect("/status?n=200&body=hi", 200, "hi")
	if s := w.pool.Stats(); s.Ended.OutOfMemory != 1 {
		t.Errorf("stats %+v", s)
	}
}
