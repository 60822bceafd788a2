package php

import (
	"os"

	"golang.org/x/sys/unix"
)

// newShared returns memory for a worker, and the file that the worker inherits; neither where the system does not give it.
func newShared() (*shared, *os.File) {
	fd, err := unix.MemfdCreate("edge-answers", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil
	}
	file := os.NewFile(uintptr(fd), "edge-answers")
	const size = sharedSlots * slotSize
	// A file that was made shorter would end the server with SIGBUS.
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	err = unix.Ftruncate(fd, size)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	var mem []byte
	if err == nil {
		mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		file.Close()
		return nil, nil
	}
	s := &shared{mem: mem}
	s.holders.Store(1)
	return s, file
}

func unmap(mem []byte) { _ = unix.Munmap(mem) }
