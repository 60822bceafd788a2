package wasmhost

import (
	"bytes"
	"testing"
)

// TestMemory: both kinds grow where they are or move, show an image without changing it, and go back to it.
func TestMemory(t *testing.T) {
	t.Parallel()
	const page = int(pageSize)
	content := make([]byte, 3*page)
	for i := range content[:page+100] {
		content[i] = byte(i)
	}
	kinds := map[string]func() linearMemory{
		"allocated": func() linearMemory { a := &allocator{}; a.Allocate(uint64(page), uint64(8*page)); return a.made },
		"heap":      func() linearMemory { return &heapMemory{} },
	}
	for name, kind := range kinds {
		for _, often := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				img := newImage(content, often)
				defer img.close()
				m, other := kind(), kind()
				defer m.release()
				defer other.release()
				m.Reallocate(uint64(page))[5] = 7
				buf, otherBuf := m.Reallocate(uint64(3*page)), other.Reallocate(uint64(3*page))
				if len(buf) != 3*page || buf[5] != 7 {
					t.Fatalf("growing lost what was there, or gave %d bytes", len(buf))
				}
				for _, each := range []linearMemory{m, other} {
					if err := each.show(img); err != nil {
						t.Fatal(err)
					}
				}
				// Few pages and many, and as often as it takes to come past the giving back of all.
				for round := range 300 {
					for i := 0; i < len(buf); i += 1 + round*97%5000 {
						buf[i] ^= 0xff
					}
					if !bytes.Equal(otherBuf, content) {
						t.Fatalf("round %d: the other memory sees what one wrote", round)
					}
					if err := m.reset(); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(buf, content) {
						t.Fatalf("round %d: the memory is not what the image was", round)
					}
				}
				if len(m.Reallocate(uint64(4*page))) != 4*page {
					t.Error("it does not grow after showing an image")
				}
			})
		}
	}
}

// TestMemoryEndsAtItsLimit: what cannot grow says so and stays what it is.
func TestMemoryEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	a := &allocator{}
	m := a.Allocate(uint64(pageSize), uint64(2*pageSize))
	defer a.made.release()
	if _, mapped := a.made.(*heapMemory); mapped {
		t.Skip("no address space is reserved on this platform")
	}
	if m.Reallocate(uint64(3*pageSize)) != nil {
		t.Error("it grew past what was reserved")
	}
	if got := m.Reallocate(uint64(2 * pageSize)); len(got) != int(2*pageSize) {
		t.Errorf("it has %d bytes after a refusal", len(got))
	}
}
