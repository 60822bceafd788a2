package middleware

import (
	"io/fs"
	"syscall"
	"time"
)

// fileIdentity changes with whatever happens to a file: the kernel counts changes of content, owner and mode in ctime, which nobody can set.
type fileIdentity struct {
	device, inode    uint64
	size             int64
	changed, written syscall.Timespec
}

func identify(path string) (fileIdentity, bool) {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return fileIdentity{}, false
	}
	return identityFrom(&s), true
}

func identityOf(info fs.FileInfo) (fileIdentity, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileIdentity{}, false
	}
	return identityFrom(s), true
}

func identityFrom(s *syscall.Stat_t) fileIdentity {
	return fileIdentity{device: s.Dev, inode: s.Ino, size: s.Size, changed: s.Ctim, written: s.Mtim}
}

// settled reports whether the last change is so long ago that it can be told from the next one.
func (i fileIdentity) settled(now time.Time, age time.Duration) bool {
	return now.Sub(time.Unix(i.changed.Unix())) > age
}
