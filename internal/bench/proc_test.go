package main

import (
	"os"
	"testing"
	"time"
)

const statLine = "4711 (php-fpm: pool a) b) S 4700 4700 4700 0 -1 4194560 1 2 3 4 250 50 7 3 20 0 1 0 987654 227352576 5120 " +
	"18446744073709551615 1 1 0 0 0 0 0 4096 18434 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	t.Parallel()
	got, err := parseStat([]byte(statLine))
	want := procStat{
		pid: 4711, parent: 4700, comm: "php-fpm: pool a) b", state: 'S', ticks: 300, reapedTicks: 10, started: 987654,
		residentKiB: 5120 * int64(os.Getpagesize()/1024),
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, line := range []string{"", "4711", "4711 )(", "4711 (x) S 1", "x" + statLine} {
		if p, err := parseStat([]byte(line)); err == nil {
			t.Errorf("%q was read as %+v", line, p)
		}
	}
}

func TestUsageSplitsServerAndPHP(t *testing.T) {
	t.Parallel()
	got := usageOf([]procStat{
		{comm: "edge", ticks: 100, reapedTicks: 5, residentKiB: 20_000},
		{comm: "php", ticks: 30, residentKiB: 30_000},
		{comm: "php8.2", ticks: 40},
		{comm: "nginx", ticks: 1, residentKiB: 1_000},
	})
	want := usage{server: 1010 * time.Millisecond, php: 750 * time.Millisecond, serverResidentKiB: 21_000}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOwnProcessIsInItsTree(t *testing.T) {
	t.Parallel()
	family, err := processTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range family {
		if p.pid == os.Getpid() && p.parent == os.Getppid() && p.residentKiB > 0 && p.started > 0 {
			return
		}
	}
	t.Errorf("process %d is not in %+v", os.Getpid(), family)
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine))
	f.Add([]byte("1 (a) Z"))
	f.Fuzz(func(_ *testing.T, line []byte) { _, _ = parseStat(line) })
}
