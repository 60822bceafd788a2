package osproc

import "github.com/edge-server/edge/internal/bytesize"

// Limits are resource limits of the kernel for each process. 0 is as Edge's own.
type Limits struct {
	// OpenFiles is the number of descriptors (RLIMIT_NOFILE). Default: 0.
	OpenFiles uint64 `koanf:"open_files"`
	// Processes is the number of processes of the user that they run as (RLIMIT_NPROC). Default: 0.
	Processes uint64 `koanf:"processes"`
	// AddressSpace is virtual memory (RLIMIT_AS); an allocation beyond it fails inside the process. Default: 0.
	AddressSpace bytesize.Size `koanf:"address_space"`
	// FileSize is that of a file being written (RLIMIT_FSIZE). Default: 0.
	FileSize bytesize.Size `koanf:"file_size"`
	// Memory is what all processes of the pool or service may take together, by a cgroup v2 where Edge may make one: the kernel
	// kills one of them beyond it. Where it may not, the log says so. Default: 0.
	Memory bytesize.Size `koanf:"memory"`
}

// ofProcess reports whether a process has limits of its own, beside those of its group.
func (l Limits) ofProcess() bool {
	l.Memory = 0
	return l != Limits{}
}
