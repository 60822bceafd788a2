package wasmhost

import "testing"

// TestDescriptorsAreShared: the instances of a plugin have a number together, and it comes back.
func TestDescriptorsAreShared(t *testing.T) {
	t.Parallel()
	d := newDescriptors()
	if d.most < 1 || d.most > maxShare {
		t.Fatalf("%d descriptors", d.most)
	}
	for range d.most {
		if !d.take() {
			t.Fatal("too few")
		}
	}
	for range 2 {
		if d.take() {
			t.Fatal("too many")
		}
	}
	d.give()
	if !d.take() || d.take() {
		t.Fatal("what is given back cannot be had")
	}
}
