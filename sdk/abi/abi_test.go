package abi_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/edge-server/edge/sdk/abi"
)

func TestPackedValues(t *testing.T) {
	t.Parallel()
	if got := abi.Next(16); got != 68719476737 || !got.Passes() || got.ReqCtx() != 16 {
		t.Errorf("Next(16) = %d, passes %v, ctx %d", got, got.Passes(), got.ReqCtx())
	}
	if abi.Done.Passes() || abi.CtxNext(16<<32).Passes() {
		t.Error("next = 0 passes")
	}
	if got := abi.PackCountLen(2, 28); got != 2<<32|28 || got.Count() != 2 || got.Len() != 28 {
		t.Errorf("PackCountLen(2, 28) = %d", got)
	}
	if got := abi.PackEOFLen(true, 16); got != 1<<32|16 || !got.EOF() || got.Len() != 16 {
		t.Errorf("PackEOFLen(true, 16) = %d", got)
	}
	if got := abi.PackEOFLen(false, 16); got != 16 || got.EOF() {
		t.Errorf("PackEOFLen(false, 16) = %d", got)
	}
}

func TestSplitList(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":              "",
		"\x00":          "[]",
		"a\x00":         "[a]",
		"a\x00\x00b":    "[a][][b]",
		"ab\x00cde\x00": "[ab][cde]",
	} {
		var got strings.Builder
		abi.SplitList([]byte(list), func(item []byte) bool {
			got.WriteString("[" + string(item) + "]")
			return true
		})
		if got.String() != want {
			t.Errorf("SplitList(%q) = %s, want %s", list, got.String(), want)
		}
	}
}

func FuzzSplitList(f *testing.F) {
	f.Add([]byte("accept\x00host\x00"))
	f.Add([]byte("\x00\x00x"))
	f.Fuzz(func(t *testing.T, list []byte) {
		var back []byte
		abi.SplitList(list, func(item []byte) bool {
			back = append(append(back, item...), 0)
			return true
		})
		if want := append(bytes.Clone(list), 0); len(list) > 0 && list[len(list)-1] != 0 && !bytes.Equal(back, want) ||
			len(list) > 0 && list[len(list)-1] == 0 && !bytes.Equal(back, list) {
			t.Errorf("SplitList(%q) joins to %q", list, back)
		}
	})
}
