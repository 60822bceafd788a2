package wasmhost

import (
	"math"
	"testing"
)

// TestDescriptorsAreShared: the instances of a plugin have a number together, and it comes back.
func TestDescriptorsAreShared(t *testing.T) {
	t.Parallel()
	all := newDescriptors(sharesPart, math.MaxInt64)
	d := newDescriptors(sharePart, maxShare)
	d.all = &all
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
	if got := all.open.Load(); got != d.most {
		t.Errorf("%d of all are open, want %d", got, d.most)
	}
	d.give()
	all.open.Store(all.most)
	if d.take() || d.open.Load() != d.most-1 {
		t.Error("a plugin takes what all together may not")
	}
}
