package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wasmBench is the benchmark that this file reads. It lies with the tests of wasmhost, as the reference host is theirs alone.
const wasmBench = "BenchmarkBeside"

// wasmFigures are nanoseconds for a request, by the case ("middleware/c") and the contender ("edge").
type wasmFigures map[string]map[string]float64

// wasmBar is a promise about one case: a ratio of two contenders, their difference, or one alone.
type wasmBar struct {
	what, key string
	of        func(ns map[string]float64) float64 // NaN and infinity are not measured
	decimals  int
	most      bool
	limit     float64
}

func faster(ns map[string]float64) float64 { return known(ns, "reference") / known(ns, "edge") }

func scriptCost(ns map[string]float64) float64 { return known(ns, "edge") / 1000 }

func chainOfTen(ns map[string]float64) float64 { return known(ns, "ten") / known(ns, "one") }

func isolationCost(ns map[string]float64) float64 {
	return (known(ns, "request") - known(ns, "instance")) / 1000
}

func known(ns map[string]float64, name string) float64 {
	if v, ok := ns[name]; ok {
		return v
	}
	return nan
}

var wasmBars = []wasmBar{
	{"a middleware in C, times faster than http-wasm-host-go", "middleware/c", faster, 2, false, 3},
	{"in Rust", "middleware/rust", faster, 2, false, 3},
	{"in Zig", "middleware/zig", faster, 2, false, 3},
	{"in AssemblyScript", "middleware/as", faster, 2, false, 3},
	{"in Go", "middleware/go", faster, 2, false, 3},
	{"in Go by TinyGo", "middleware/tinygo", faster, 2, false, 3},
	{"in JavaScript, µs", "middleware/js", scriptCost, 2, true, 4},
	{"a chain of 10, times the cost of one", "chain/c", chainOfTen, 2, true, 10},
	{"`isolation: request`, a guest in C, µs more", "isolation/c", isolationCost, 2, true, 1},
	{"`isolation: request`, a guest in Go, µs more", "isolation/go", isolationCost, 2, true, 10},
}

// benchWasm measures plugins inside of one process: what a request through one costs beside the reference host.
func benchWasm(ctx context.Context, _ options, space *workspace, progress io.Writer) ([]section, error) {
	fmt.Fprintln(progress, "plugins, beside http-wasm-host-go")
	program := space.path("wasmhost.test")
	if _, err := wasmRun(ctx, space, space.root, space.tool["go"], "test", "-c", "-o", program, "./wasmhost"); err != nil {
		return nil, err
	}
	// As go test does it, in the package's folder.
	out, err := wasmRun(ctx, space, filepath.Join(space.root, "wasmhost"), program,
		"-test.run=^$", "-test.bench=^"+wasmBench+"$", "-test.benchtime=1x")
	if err != nil {
		return nil, err
	}
	figures, err := readWasmFigures(out)
	if err != nil {
		return nil, err
	}
	for key, ns := range figures {
		fmt.Fprintf(progress, "  %s: %v\n", key, ns)
	}
	return []section{wasmSection(figures, describeMachine(ctx, space))}, nil
}

func wasmRun(ctx context.Context, space *workspace, dir, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+space.Dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, interrupted(ctx, fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(program), args[0], err, out, stderr.Bytes()))
	}
	return out, nil
}

// readWasmFigures reads what `go test -bench` prints.
//
//	BenchmarkBeside/middleware/c-2   1   1207325677 ns/op   440.9 edge-ns   1102 reference-ns
func readWasmFigures(out []byte) (wasmFigures, error) {
	all := wasmFigures{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], wasmBench+"/") {
			continue
		}
		key := strings.TrimPrefix(fields[0], wasmBench+"/")
		if at := strings.LastIndexByte(key, '-'); at >= 0 { // the number of processors
			key = key[:at]
		}
		all[key] = map[string]float64{}
		for i := 3; i < len(fields); i += 2 {
			name, isFigure := strings.CutSuffix(fields[i], "-ns")
			value, err := strconv.ParseFloat(fields[i-1], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q: %w", wasmBench, strings.TrimSpace(line), err)
			}
			if isFigure {
				all[key][name] = value
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New(wasmBench + " printed no result")
	}
	return all, nil
}

// wasmSection writes every bar beside what was measured, and the figures themselves.
func wasmSection(figures wasmFigures, where machine) section {
	var b strings.Builder
	b.WriteString("### Plugins\n\nA request through one plugin that reads a header and writes one, in both phases, inside of one process: Edge with fuel, deadline and\n" +
		"metrics beside http-wasm-host-go, which has none of them. Interleaved turns of a fraction of a millisecond; a figure is that of the turn which\n" +
		"a tenth of them were faster than.\n\n")
	fmt.Fprintf(&b, "%s. %s\n\n", time.Now().Format(time.DateOnly), where)
	writeRow(&b, "what", "ns", "bar", "measured", "met")
	b.WriteString("|---|---|---:|---:|---|\n")
	for _, x := range wasmBars {
		ns := figures[x.key]
		got, check := x.of(ns), bar{most: x.most, limit: x.limit}
		writeRow(&b, x.what, wasmCells(ns), check.bound(), formatNumber(got, x.decimals), check.verdict(got))
	}
	fmt.Fprintf(&b, "\n```sh\ngo run ./internal/bench -wasm\n```\n")
	return section{key: "wasm", text: b.String()}
}

// wasmCells lists figures as "edge 440, reference 1,102".
func wasmCells(ns map[string]float64) string {
	var cells []string
	for name, value := range ns {
		cells = append(cells, name+" "+formatNumber(value, 0))
	}
	slices.Sort(cells)
	return strings.Join(cells, ", ")
}
