package boltdb

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// TestPowerLoss is about what kill -9 cannot show, since the kernel writes what it was given after the process has gone: a loss of
// power. A real server runs under strace, which writes down every system call on the file in order, with the bytes, and every
// acknowledgement (a write to stdout). From that log a disk is built that loses everything the file system never promised: what
// was not followed by an fdatasync is kept, dropped or torn at random, sector by sector and in any order. For many moments of the
// log the file that such a disk would hold is opened.
//
// always: nothing acknowledged is missing. interval: the file hangs together, and has the writes of each writer up to some
// point. never: on a disk that drops everything unsynced the test has to see losses, or it would see none anywhere. (What a torn
// file does to bbolt then is not tried: it may well take the process with it.)
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	strace := testenv.Tool(t, "strace", "apt-get install strace")
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, sync)
			log := trace(t, strace, cfg, testenv.Count(15, 120))
			losses := 0
			moments := testenv.Count(100, 2500)
			image := filepath.Join(filepath.Dir(cfg.File), "after.db")
			for i := range moments {
				until := 1 + rand.IntN(len(log))
				if i%10 == 0 { // the birth of a file is a story of its own
					until = 1 + rand.IntN(30)
				}
				var acknowledged [writers]int
				disk := disk{}
				for _, c := range log[:until] {
					disk.apply(c)
					if c.name == "write" {
						acknowledge(t, string(c.data), &acknowledged)
					}
				}
				left := disk.safe
				if sync != kv.SyncNever {
					left = disk.crash()
				}
				if err := os.Remove(image); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if disk.named() {
					if err := os.WriteFile(image, left, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				err := compare(with(cfg, func(c *kv.BoltConfig) { c.File = image }), acknowledged)
				if err == nil {
					continue
				}
				losses++
				if sync != kv.SyncNever {
					t.Fatalf("moment %d of %d: %v", i, moments, err)
				}
			}
			if sync == kv.SyncNever && losses == 0 {
				t.Error("not one loss with sync: never: this test would not notice any")
			}
			t.Logf("%d system calls, %d moments, %d of them with losses", len(log), moments, losses)
		})
	}
}

// compare opens what a loss of power has left.
func compare(cfg kv.BoltConfig, acknowledged [writers]int) error {
	heads, err := inspect(cfg)
	if err != nil {
		return err
	}
	for w, n := range acknowledged {
		if heads[w] < n && cfg.Sync != kv.SyncInterval {
			return fmt.Errorf("writer %d was told that %d is stored; the file has %d", w, n, heads[w])
		}
	}
	return nil
}

// call is a system call that matters.
type call struct {
	name string // pwrite64, ftruncate, fdatasync, fsync; linkat gives the file its name, folder syncs that; write is an acknowledgement
	data []byte
	at   int64 // offset, or length of ftruncate
}

// trace runs a writer under strace.
func trace(t *testing.T, strace string, cfg kv.BoltConfig, rounds int) []call {
	t.Helper()
	path := filepath.Join(filepath.Dir(cfg.File), "strace.log")
	cmd := helper(t, cfg, strconv.Itoa(rounds), strace, "-f", "-y", "-xx", "-s", "4000000", "-o", path,
		"-e", "trace=pwrite64,ftruncate,fdatasync,fsync,write,linkat")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("strace: %v\n%s", err, out)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var log []call
	begun := map[string]string{} // by process: the call that strace has seen begin
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		pid, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if start, unfinished := strings.CutSuffix(rest, "<unfinished ...>"); unfinished {
			begun[pid] = start
			continue
		}
		if strings.HasPrefix(rest, "<... ") {
			_, end, _ := strings.Cut(rest, "resumed>")
			rest = begun[pid] + end
		}
		if c, ok := parseCall(t, rest, cfg.File); ok {
			log = append(log, c)
		}
	}
	if len(log) < rounds*writers {
		t.Fatalf("strace saw %d calls for %d acknowledgements", len(log), rounds*writers)
	}
	return log
}

// parseCall reads a line such as `pwrite64(5</tmp/kv.db>, "\x00\x01", 2, 4096) = 2`, where paths are in hex, too.
func parseCall(t *testing.T, line, file string) (c call, ok bool) {
	t.Helper()
	c.name, line, ok = strings.Cut(line, "(")
	if !ok {
		return c, false // a signal, an exit
	}
	if c.name == "linkat" {
		return c, strings.HasSuffix(strings.TrimSpace(line), "= 0")
	}
	fd, line, _ := strings.Cut(line, "<")
	target, args, ok := strings.Cut(line, ">")
	if !ok || !strings.Contains(args, " = ") || strings.Contains(args, " = -1") {
		return c, false
	}
	args = strings.TrimSpace(args[:strings.LastIndex(args, " = ")])
	args = strings.TrimSuffix(strings.TrimPrefix(args, ", "), ")")
	if c.name == "write" {
		if fd != "1" {
			return c, false
		}
	} else if path := string(unhex(t, target)); path == filepath.Dir(file) && c.name == "fsync" {
		c.name = "folder"
	} else if !strings.HasPrefix(path, file) { // before it has its name it is FILE.new…
		return c, false
	}
	if strings.HasPrefix(args, `"`) {
		end := strings.LastIndex(args, `"`)
		c.data, args = unhex(t, args[1:end]), args[end+1:]
	}
	numbers := strings.Split(args, ",")
	c.at, _ = strconv.ParseInt(strings.TrimSpace(numbers[len(numbers)-1]), 10, 64)
	return c, true
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	if err != nil {
		t.Fatalf("strace wrote %.60q: %v", text, err)
	}
	return data
}

// disk is what a file is on a disk without power: what was synced, and what was not.
type disk struct {
	safe   []byte
	unsafe []call

	linked, nameSafe bool
}

// named reports whether the file is there after a crash.
func (d *disk) named() bool { return d.nameSafe || d.linked && rand.IntN(2) == 0 }

func (d *disk) apply(c call) {
	switch c.name {
	case "pwrite64", "ftruncate":
		d.unsafe = append(d.unsafe, c)
	case "fdatasync", "fsync":
		for _, c := range d.unsafe {
			d.safe = write(d.safe, c, nil)
		}
		d.unsafe = nil
	case "linkat":
		d.linked = true
	case "folder":
		d.nameSafe = d.linked
	}
}

const sector = 512

// crash returns the file as it is found: every call since the last sync was done, or not, or in some sectors only, in any order.
func (d *disk) crash() []byte {
	image := append([]byte(nil), d.safe...)
	rand.Shuffle(len(d.unsafe), func(i, j int) { d.unsafe[i], d.unsafe[j] = d.unsafe[j], d.unsafe[i] })
	for _, c := range d.unsafe {
		switch rand.IntN(3) {
		case 0: // lost
		case 1:
			image = write(image, c, nil)
		case 2:
			image = write(image, c, func() bool { return rand.IntN(2) == 0 })
		}
	}
	return image
}

// write does a call on an image; keep says which sectors get through, nil: all.
func write(image []byte, c call, keep func() bool) []byte {
	if c.name == "ftruncate" {
		return resize(image, c.at)
	}
	if end := c.at + int64(len(c.data)); end > int64(len(image)) {
		image = resize(image, end)
	}
	for at := 0; at < len(c.data); at += sector {
		if keep == nil || keep() {
			copy(image[c.at+int64(at):], c.data[at:min(at+sector, len(c.data))])
		}
	}
	return image
}

func resize(image []byte, size int64) []byte {
	if size <= int64(len(image)) {
		return image[:size]
	}
	return append(image, make([]byte, size-int64(len(image)))...)
}
