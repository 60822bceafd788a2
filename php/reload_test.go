package php_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	w := setup(t, "app.php", workers(3, 6))
	var wg sync.WaitGroup
	done := make(chan struct{})
	var served atomic.Int64
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if status, _ := w.get("/slow?ms=1"); status != 200 {
					t.Errorf("status %d during a reload", status)
				}
				served.Add(1)
			}
		})
	}
	for i := range testenv.Count(4, 50) {
		before := served.Load()
		w.eventually("requests flow", func() bool { return served.Load() > before+20 })
		if err := w.pool.Reload(t.Context()); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
	}
	close(done)
	wg.Wait()
	if s := w.pool.Stats(); s.Rejected()+s.Crashes != 0 || s.Reloads == 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestReloadReadsTheDeployLink moves the link that a deployment moves.
func TestReloadReadsTheDeployLink(t *testing.T) {
	t.Parallel()
	root := testenv.Dir(t)
	release := func(name string) {
		dir := filepath.Join(root, name)
		script := fmt.Sprintf("<?php require %q; $w = new Worker(); while ($r = $w->next()) $w->respond(200, %q);\n",
			filepath.Join(testenv.Root(t), "php", "testdata", "lib.php"), name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "worker.php"), []byte(script), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name string) {
		next := filepath.Join(root, "next")
		if err := errors.Join(os.Symlink(filepath.Join(root, name), next), os.Rename(next, filepath.Join(root, "current"))); err != nil {
			t.Fatal(err)
		}
	}
	release("one")
	release("two")
	link("one")
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) {
		c.Dir, c.Workers = filepath.Join(root, "current"), php.Workers{Min: 2, Max: 2}
	})
	link("two")
	w.expect("/", 200, "one")
	w.expectStatus("/", 200)
	if err := w.pool.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.expect("/", 200, "two")
	}

	broken := "<?php\necho 'Parse error: in two';\nexit(255);\n"
	if err := os.WriteFile(filepath.Join(root, "two", "worker.php"), []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.pool.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "Parse error: in two") {
		t.Errorf("reload of broken code: %v, want PHP's words", err)
	}
	for range 4 {
		w.expect("/", 200, "two")
	}
	if s := w.pool.Stats(); s.ReloadsFailed != 1 || s.Idle+s.Busy != 2 || !strings.Contains(s.ReloadError, "Parse error: in two") {
		t.Errorf("stats %+v", s)
	}
	release("three")
	link("three")
	if err := w.pool.Reload(t.Context()); err != nil || w.pool.Stats().ReloadError != "" {
		t.Errorf("reload of mended code: %v, stats %+v", err, w.pool.Stats())
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	lib := filepath.Join(testenv.Root(t), "php", "testdata", "lib.php")
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("worker.php", fmt.Sprintf("<?php require %q; $v = require 'src/deep/v.php'; $w = new Worker(); while ($w->next()) $w->respond(200, $v);", lib))
	write("src/deep/v.php", "<?php return 'one';")
	write("config/app.yaml", "")
	w := setup(t, "worker.php", func(c *php.Config, _ *php.Options) {
		c.Dir, c.Watch = dir, []string{"src", "config/**/*.yaml"}
	})
	serves := func(want string) {
		t.Helper()
		w.eventually("it serves "+want, func() bool { _, body := w.get("/"); return body == want })
	}
	serves("one")
	write("src/deep/v.php", "<?php return 'two';")
	serves("two")
	write("src/deep/v.php", "<?php throw new Exception('half written');")
	w.logged("the old code keeps serving")
	w.expect("/", 200, "two")
	write("src/deep/v.php", "<?php return 'three';")
	serves("three")
	write("src/new/x.php", "<?php") // in a folder that was not there
	reloads := func(n uint64) {
		t.Helper()
		w.eventually(fmt.Sprint(n, " reloads"), func() bool { return w.pool.Stats().Reloads >= n })
	}
	n := w.pool.Stats().Reloads
	write("config/app.yaml", "a: 1")
	reloads(n + 1)
}
