package main

import (
	"strings"
	"testing"
)

func TestWasmFiguresAreRead(t *testing.T) {
	t.Parallel()
	figures, err := readWasmFigures([]byte(`goos: linux
BenchmarkBeside/middleware/c-2         	       1	1207325677 ns/op	       300.5 edge-ns	      1202 reference-ns
BenchmarkBeside/middleware/go-2        	       1	1207325677 ns/op	       500 edge-ns	      1000 reference-ns
BenchmarkBeside/isolation/c-16         	       1	2215786746 ns/op	       571.0 instance-ns	      1080 request-ns
PASS
`))
	if err != nil {
		t.Fatal(err)
	}
	text := wasmSection(figures, "a machine").text
	for _, row := range []string{
		"| a middleware in C, times faster than http-wasm-host-go | edge 300, reference 1,202 | ≥ 3.00 | 4.00 | yes |",
		"| in Go | edge 500, reference 1,000 | ≥ 3.00 | 2.00 | **no** |",
		"| in Zig |  | ≥ 3.00 | – | not measured |",
		"| `isolation: request`, a guest in C, µs more | instance 571, request 1,080 | ≤ 1.00 | 0.51 | yes |",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("the table lacks\n%s\nin\n%s", row, text)
		}
	}
	for _, bad := range []string{"", "PASS\n", "BenchmarkBeside/middleware/c-2 1 x ns/op\n"} {
		if _, err := readWasmFigures([]byte(bad)); err == nil {
			t.Errorf("%q is read as a result", bad)
		}
	}
}
