package abi

import (
	"bytes"
	"testing"
)

func TestAppendManifest(t *testing.T) {
	t.Parallel()
	module := []byte("\x00asm\x01\x00\x00\x00")
	manifest := bytes.Repeat([]byte("x"), 200)
	got := AppendManifest(module, manifest)
	want := "\x00asm\x01\x00\x00\x00" + "\x00\xd6\x01" + "\x0dedge.manifest" + string(manifest)
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(module) != 8 {
		t.Error("the module was changed")
	}
}
