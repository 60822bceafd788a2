package boltdb

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// helper prepares a process that works on a file.
func helper(t *testing.T, cfg kv.BoltConfig, rounds string, prefix ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(prefix, self)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), helperFile+"="+cfg.File, helperSync+"="+cfg.Sync)
	if rounds != "" {
		cmd.Env = append(cmd.Env, helperRounds+"="+rounds)
	}
	return cmd
}

// TestKill kills a server that writes, again and again, and a second process verifies the file: with sync: always and never what
// was acknowledged is there (the kernel has it), and with interval, too, the file hangs together. What a loss of power does is
// the matter of TestPowerLoss.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, sync)
			var acknowledged [writers]int
			for round := range testenv.Count(6, 200) {
				killOnce(t, cfg, 20+rand.IntN(400), &acknowledged)
				heads := verify(t, cfg)
				for w, n := range acknowledged {
					if heads[w] < n && sync != kv.SyncInterval {
						t.Fatalf("round %d: writer %d was told that %d is stored; the file has %d", round, w, n, heads[w])
					}
				}
				acknowledged = heads
			}
		})
	}
}

// killOnce lets a process write until it has acknowledged so much, and kills it in the middle of its work.
func killOnce(t *testing.T, cfg kv.BoltConfig, acks int, acknowledged *[writers]int) {
	t.Helper()
	cmd := helper(t, cfg, "0")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for seen := 0; ; seen++ {
		if seen == acks {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		line, err := lines.ReadString('\n') // what was acknowledged until the last moment counts
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if seen < acks {
				t.Fatalf("the writer ended by itself: %s", problems.String())
			}
			break
		}
		acknowledge(t, line, acknowledged)
	}
	cmd.Wait() // killed
}

func acknowledge(t *testing.T, line string, acknowledged *[writers]int) {
	t.Helper()
	var w, n int
	if _, err := fmt.Sscanf(line, "%d %d", &w, &n); err != nil || w >= writers {
		t.Fatalf("the writer said %q", line)
	}
	acknowledged[w] = max(acknowledged[w], n)
}

// verify asks another process what is in the file.
func verify(t *testing.T, cfg kv.BoltConfig) (heads [writers]int) {
	t.Helper()
	cmd := helper(t, cfg, "")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &heads)
	}
	if err != nil {
		t.Fatalf("verify: %v: %s", err, problems.String())
	}
	return heads
}
