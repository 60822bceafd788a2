package wasmhost

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// imageFile is an image as the kernel has it.
type imageFile struct {
	file    int // memory file, sealed; -1: there is none, and content is on the heap
	pagemap int // /proc/self/pagemap; -1: not needed, or there is none
}

var noFile = imageFile{file: -1, pagemap: -1}

// share puts the content into a file without a name that nobody can change any more, and keeps it mapped.
func (i *image) share(content []byte, often bool) error {
	if len(content) == 0 {
		return errors.New("nothing to share")
	}
	file, err := sealedFile(content)
	if err != nil {
		return err
	}
	base, err := unix.MmapPtr(file, 0, nil, uintptr(len(content)), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		_ = unix.Close(file)
		return os.NewSyscallError("mmap", err)
	}
	i.file, i.content = file, unsafe.Slice((*byte)(base), len(content))
	if often && len(content) <= maxScanned {
		if fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			i.pagemap = fd
		}
	}
	return nil
}

func (i *image) close() {
	if i.file >= 0 {
		_ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(i.content)), uintptr(len(i.content)))
		_ = unix.Close(i.file)
	}
	if i.pagemap >= 0 {
		_ = unix.Close(i.pagemap)
	}
	i.content, i.imageFile = nil, noFile
}

func sealedFile(content []byte) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("edge-plugin", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // a kernel before 6.3
		fd, err = unix.MemfdCreate("edge-plugin", flags)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if err := fillFile(fd, content); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// fillFile writes what is not zero: the rest of the file takes no memory until somebody touches it.
func fillFile(fd int, content []byte) error {
	if err := unix.Ftruncate(fd, int64(len(content))); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	var zeros [4096]byte
	for at := 0; at < len(content); at += len(zeros) {
		part := content[at:min(at+len(zeros), len(content))]
		if bytes.Equal(part, zeros[:len(part)]) {
			continue
		}
		if n, err := unix.Pwrite(fd, part, int64(at)); err != nil || n != len(part) {
			return fmt.Errorf("write %d bytes of a template, %d written: %w", len(part), n, err)
		}
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	return os.NewSyscallError("seal", err)
}

// mappedMemory is address space of the size a guest may grow to. Its beginning is in use:
//
//	base               size                                        reserved
//	│ image │ own pages │ not accessible: reserved, costs nothing  │
//
// The part that shows an image maps its file privately: reading shares the file's pages, writing copies one.
type mappedMemory struct {
	base     unsafe.Pointer
	size     uint64
	reserved uint64

	image  *image
	resets uint32   // since all pages were given back
	first  int      // pages of its own after the first of them
	own    []uint64 // where they are, after the last
	before []uint64 // what the kernel said of each page then
	now    []uint64 // scratch of overwrite
}

// reserve fails where address space is limited (ulimit -v), or when the process has too many mappings (vm.max_map_count).
func reserve(size, limit uint64) (linearMemory, error) {
	if limit == 0 {
		return nil, errors.New("nothing to reserve")
	}
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(limit), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	m := &mappedMemory{base: base, reserved: limit}
	// With huge pages, a guest that touches a byte here and there would take megabytes. Kernels without them refuse the advice.
	_ = unix.Madvise(m.view(0, limit), unix.MADV_NOHUGEPAGE)
	if m.Reallocate(size) == nil {
		m.release()
		return nil, errors.New("no memory")
	}
	return m, nil
}

func (m *mappedMemory) view(from, to uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, from)), to-from)
}

// Reallocate makes more of the reserved space accessible; nil is "no" to the guest.
func (m *mappedMemory) Reallocate(size uint64) []byte {
	if size > m.reserved {
		return nil
	}
	if size > m.size {
		if err := unix.Mprotect(m.view(m.size, size), unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return nil
		}
		m.size = size
	}
	return m.view(0, size)[:size:size]
}

func (m *mappedMemory) Free() {}

func (m *mappedMemory) show(img *image) error {
	m.image = img
	if img.file < 0 {
		return m.reset()
	}
	_, err := unix.MmapPtr(img.file, 0, m.base, uintptr(len(img.content)), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("share the memory of the template: %w", os.NewSyscallError("mmap", err))
	}
	return nil
}

const (
	// maxScanned is the largest memory that is searched for pages to put back: asking for each page takes 4 ns.
	maxScanned = 16 << 20

	// maxKept is how many pages of its own an instance keeps from one request to the next.
	maxKept = 256

	// forgetEvery is after how many requests it gives them all back if they have become more, so that a page that one request
	// wrote is not copied for each one after it; after forgetAll it does so anyway.
	forgetEvery = 128
	forgetAll   = 1024
)

// reset puts the image back. Throwing pages away is one system call, but each page that is written next time then costs a
// fault, about 2 µs in a virtual machine. Requests of one guest write to the same few pages, its stack above all; those are
// found and overwritten instead, at 0.1 µs each.
func (m *mappedMemory) reset() error {
	if m.size != uint64(len(m.image.content)) {
		return errGrown
	}
	if m.image.file < 0 {
		copy(m.view(0, m.size), m.image.content)
		return nil
	}
	m.resets++
	forget := m.resets >= forgetAll || m.resets%forgetEvery == 0 && len(m.own) > m.first
	if m.image.pagemap < 0 || forget || !m.overwrite() {
		m.resets = 0
		return os.NewSyscallError("madvise", unix.Madvise(m.view(0, m.size), unix.MADV_DONTNEED))
	}
	if m.resets == 1 {
		m.first = len(m.own)
	}
	return nil
}

// overwrite copies the image over every page that is no longer the file's. False: it did not.
//
// From one request to the next these are mostly the same. Comparing what the kernel says with what it said before takes a tenth of the
// time that looking at each page does.
func (m *mappedMemory) overwrite() bool {
	page := uint64(os.Getpagesize())
	if m.now == nil {
		m.now, m.before = make([]uint64, m.size/page), make([]uint64, m.size/page)
	}
	now := asBytes(m.now)
	if !readNow(m.image.pagemap, now, int64(uint64(uintptr(m.base))/page*8)) {
		return false
	}
	if !bytes.Equal(now, asBytes(m.before)) {
		m.own = m.own[:0]
		for n, entry := range m.now {
			if isOwn(entry) {
				m.own = append(m.own, uint64(n)*page)
			}
		}
		m.now, m.before = m.before, m.now
	}
	if len(m.own) > maxKept {
		return false
	}
	for _, at := range m.own {
		copy(m.view(at, at+page), m.image.content[at:at+page])
	}
	return true
}

func asBytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}

// isOwn reads what /proc/self/pagemap says of a page in 64 bits: 63 it is in memory, 62 it is swapped out, 61 it belongs to a file or
// is shared.
func isOwn(entry uint64) bool {
	const file = 1
	where := entry >> 61
	return where != 0 && where&file == 0
}

// readNow reads all of buf from a file that never makes it wait for longer than a page fault does. It does not tell Go's scheduler,
// which would take a tenth of the time.
func readNow(file int, buf []byte, at int64) bool {
	if math.MaxInt == math.MaxInt32 { // where the offset would be two arguments
		n, err := unix.Pread(file, buf, at)
		return err == nil && n == len(buf)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(file), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), uintptr(at), 0, 0)
	return errno == 0 && int(n) == len(buf)
}

func (m *mappedMemory) release() {
	if m.base != nil {
		_ = unix.MunmapPtr(m.base, uintptr(m.reserved)) // fails for no reason but a wrong address
		m.base = nil
	}
}
