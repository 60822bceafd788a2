package osproc

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestLimitsComeFirst: the program runs nothing before its limits hold.
func TestLimitsComeFirst(t *testing.T) {
	t.Parallel()
	s, err := NewStarter(0, Limits{OpenFiles: 123}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range testenv.Count(20, 500) {
		var out strings.Builder
		cmd := exec.Command("/bin/sh", "-c", "ulimit -n; ulimit -n; kill -TERM $$; echo lives")
		cmd.Stdout, cmd.SysProcAttr = &out, Attributes(nil)
		if err := s.Start(cmd); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if err == nil || err.Error() != "signal: terminated" || out.String() != "123\n123\n" {
			t.Fatalf("%q, %v", out.String(), err)
		}
	}
	if err := s.Start(&exec.Cmd{Path: "/no/such/program", SysProcAttr: Attributes(nil)}); err == nil {
		t.Error("started what is not there")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
