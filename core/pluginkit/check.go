package pluginkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/wasmhost"
)

// ErrRefused: Edge would not run the plugin, and why is written above.
var ErrRefused = errors.New("the plugin would be refused, see above")

// Check writes down what a plugin is and needs. It returns ErrRefused for one that a server would not load.
func Check(ctx context.Context, t Target, out io.Writer) error {
	if err := t.GrantWishes(ctx); err != nil {
		fmt.Fprintf(out, "refused      %v\n", err)
		return ErrRefused
	}
	w := newWorld(io.Discard)
	defer w.close(ctx)
	var start struct {
		fuel  int64
		calls int
	}
	r := wasmhost.Inspect(t.Name, t.Config, wasmhost.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Services: w.services(),
		Trace: func(e wasmhost.TraceEvent) {
			start.fuel += e.Fuel
			if !e.Guest {
				start.calls++
			}
		},
	})
	report(out, t, r)
	if r.Err == nil {
		fmt.Fprintf(out, "start        %s with compiling, fuel %d, %d host calls\n", r.Load.Round(100*time.Microsecond), start.fuel, start.calls)
	}
	diagnose(out, r)
	grants(out, t, r)
	if r.Err != nil {
		for line := range strings.SplitSeq(printable(r.Err.Error()), "\n") {
			fmt.Fprintf(out, "refused      %s\n", line)
		}
		if strings.HasPrefix(r.Err.Error(), "config:") && !t.Configured {
			fmt.Fprintln(out, "hint         give it a configuration: --config-json, --config-text, or -c edge.yaml")
		}
		return ErrRefused
	}
	fmt.Fprintln(out, "ok           Edge runs it")
	return nil
}

func report(out io.Writer, t Target, r wasmhost.Report) {
	if r.Size == 0 {
		return // there is no file
	}
	fmt.Fprintf(out, "plugin       %s, %s\n", t.Name, Size(r.Size))
	fmt.Fprintf(out, "sha256       %x\n", r.SHA256)
	if r.Script {
		fmt.Fprintln(out, "script       runs in the JavaScript engine that Edge carries")
	}
	if r.Manifest != nil {
		fmt.Fprintf(out, "manifest     %s %s, %s\n", printable(r.Manifest.Name), printable(r.Manifest.Version), printable(strings.Join(r.Manifest.Kinds, ", ")))
		for _, key := range slices.Sorted(maps.Keys(r.Manifest.Allow)) {
			fmt.Fprintf(out, "             asks for %s: %s\n", printable(key), printable(oneLine(r.Manifest.Allow[key])))
		}
		if len(r.Manifest.Config) > 0 {
			fmt.Fprintf(out, "             config: %s\n", printable(oneLine(r.Manifest.Config)))
		}
	}
	if r.Kinds != 0 {
		fmt.Fprintf(out, "kinds        %s\n", r.Kinds)
	}
	if !r.Script {
		for _, i := range r.Imports {
			fmt.Fprintf(out, "imports      %s: %s\n", printable(i.Module), printable(strings.Join(i.Functions, ", ")))
		}
		fmt.Fprintf(out, "exports      %s\n", printable(clip(strings.Join(r.Exports, ", "), 400)))
	}
	if r.Metered > 0 && !r.Script {
		fmt.Fprintf(out, "metering     counting fuel and stack makes it %d%% larger: %s run\n", (r.Metered-r.Size)*100/max(r.Size, 1), Size(r.Metered))
	}
	if r.Err != nil {
		return
	}
	fmt.Fprintf(out, "memory       %s of linear memory an instance, %s of it in use after the start", Size(r.Memory), Size(r.Used))
	if r.Tables > 0 {
		fmt.Fprintf(out, "; %s of tables", Size(r.Tables))
	}
	fmt.Fprintln(out)
	if r.NotCloned == "" {
		fmt.Fprintf(out, "instances    copies of the first: one more costs the pages that it writes to\n")
	} else {
		fmt.Fprintf(out, "instances    each is started anew and takes all its memory: %s\n", r.NotCloned)
	}
	if r.Kinds.Has(wasmhost.KindMiddleware) && !r.Responds {
		fmt.Fprintln(out, "phases       the request only: no instance waits for the rest of the chain")
	} else if r.Kinds.Has(wasmhost.KindMiddleware) {
		fmt.Fprintln(out, "phases       request and response: an instance is busy until the rest of the chain has answered")
	}
}

// printable keeps what a module says about itself from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// diagnose says what is not wrong, but could be better.
func diagnose(out io.Writer, r wasmhost.Report) {
	hint := func(format string, args ...any) { fmt.Fprintf(out, "hint         "+format+"\n", args...) }
	if r.Debug > 16<<10 && r.Debug > r.Size/10 {
		hint("%s are names and debug information, which nothing here reads: strip them (Go -ldflags=\"-s -w\", C -Wl,--strip-all, Rust strip = true)", Size(r.Debug))
	}
	if r.Memory > 16<<20 {
		hint("an instance begins with %s: a smaller stack (-z stack-size=65536) or less static data makes it cheaper", Size(r.Memory))
	}
	if r.Manifest == nil && !r.Script && len(r.Wants) > 0 {
		hint("a section edge.manifest with \"allow\" would tell operators what to grant (docs/abi.md)")
	}
	if r.Size > 10<<20 {
		hint("%s take seconds to compile when the cache is cold", Size(r.Size))
	}
}

// grants says what to write into edge.yaml.
func grants(out io.Writer, t Target, r wasmhost.Report) {
	wants := r.Wants
	if t.Configured {
		wants = slices.DeleteFunc(slices.Clone(wants), func(g wasmhost.Grant) bool { return g.Granted })
	}
	if len(wants) == 0 {
		return
	}
	fmt.Fprintf(out, "needs        in edge.yaml:\n")
	fmt.Fprintf(out, "               plugins:\n                 modules:\n                   %s:\n                     allow:\n", t.Name)
	for _, want := range wants {
		fmt.Fprintf(out, "                       %s: %s\n", want.Key, want.Example)
	}
}

// oneLine writes JSON that somebody else wrote, without line breaks.
func oneLine(text json.RawMessage) string {
	var out bytes.Buffer
	if json.Compact(&out, text) != nil {
		return "(no JSON)"
	}
	return clip(out.String(), 300)
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
