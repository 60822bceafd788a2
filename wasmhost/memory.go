package wasmhost

import (
	"errors"
	"slices"

	"github.com/tetratelabs/wazero/experimental"
)

// linearMemory is where the linear memory of one instance lies.
//
// On Linux it is address space that is reserved at once and used as the guest grows, so that growing moves nothing, and it
// can show an [image]: pages that all instances of a generation share until one of them writes to one (memory_linux.go).
// Elsewhere, and when the kernel gives no more address space, it is a slice, and an image is copied into it.
type linearMemory interface {
	experimental.LinearMemory

	// show makes the memory read as the image, which has its size. What is written from then on is its own.
	show(*image) error

	// reset makes it read as the image again that it was shown, or returns errGrown.
	reset() error

	// release gives the memory back; call it when the module is closed and nobody is inside. Free, which the engine calls,
	// does nothing: it comes while guest code is still on the stack when a host function ends the module.
	release()
}

// errGrown: a memory cannot shrink.
var errGrown = errors.New("the memory has grown beyond the template")

// allocator makes the memory of one instance; the engine asks it once, while it instantiates the module.
type allocator struct{ made linearMemory }

// Allocate implements experimental.MemoryAllocator. It has no way to fail: what cannot be reserved is a slice.
func (a *allocator) Allocate(capacity, limit uint64) experimental.LinearMemory {
	if m, err := reserve(capacity, limit); err == nil {
		a.made = m
	} else {
		a.made = &heapMemory{}
	}
	return a.made
}

// image is what a linear memory held at one moment. It is immutable, but for close.
type image struct {
	content []byte
	imageFile
}

// newImage takes the image of a memory. Often says that it will be used for resetting again and again.
func newImage(content []byte, often bool) *image {
	img := &image{imageFile: noFile}
	if err := img.share(content, often); err != nil { // the platform has no such files, or there are too many
		img.content = slices.Clone(content)
	}
	return img
}

// heapMemory is a memory that works everywhere.
type heapMemory struct {
	buf   []byte
	image *image
}

// Reallocate grows by a quarter at least, so that a guest that grows page by page does not copy each time.
func (m *heapMemory) Reallocate(size uint64) []byte {
	if size > uint64(cap(m.buf)) {
		grown := make([]byte, len(m.buf), max(size, uint64(cap(m.buf))*5/4))
		copy(grown, m.buf)
		m.buf = grown
	}
	m.buf = m.buf[:size]
	return m.buf
}

func (m *heapMemory) Free() {}

func (m *heapMemory) show(img *image) error {
	m.image = img
	return m.reset()
}

func (m *heapMemory) reset() error {
	if len(m.buf) != len(m.image.content) {
		return errGrown
	}
	copy(m.buf, m.image.content)
	return nil
}

func (m *heapMemory) release() { m.buf = nil }
