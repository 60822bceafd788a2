package osproc

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestReturnStartPages: what the start has touched is gone, and the program goes on.
func TestReturnStartPages(t *testing.T) {
	before := fileKiB(t)
	if err := ReturnStartPages(); err != nil {
		t.Fatal(err)
	}
	if after := fileKiB(t); after >= before {
		t.Errorf("%d KiB of files are resident, of %d before", after, before)
	}
}

// fileKiB is how much of the mapped files is resident.
func fileKiB(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no RssFile in\n%s", status)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
