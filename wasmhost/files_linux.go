package wasmhost

import (
	"math"

	"golang.org/x/sys/unix"
)

// openFilesLimit is how many descriptors the process may have.
func openFilesLimit() (int64, bool) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0, false
	}
	return int64(min(limit.Cur, math.MaxInt64)), true
}
