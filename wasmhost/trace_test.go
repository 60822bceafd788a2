package wasmhost

import (
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// TestCallShapes: every host function has a shape, which is that of its parameters.
func TestCallShapes(t *testing.T) {
	t.Parallel()
	known := 0
	for _, n := range namespaces() {
		for _, f := range n.functions {
			name := n.name + "." + f.name
			shape, there := callShapes[name]
			if !there {
				t.Errorf("%s has no shape: a trace would not show its arguments", name)
				continue
			}
			known++
			var want []api.ValueType
			for _, letter := range shape {
				switch letter {
				case 's', 'o':
					want = append(want, i32, i32)
				case 'N':
					want = append(want, i64)
				default:
					want = append(want, i32)
				}
			}
			if got := (signature{want, f.signature.results}); !got.equal(f.signature) {
				t.Errorf("%s has the shape %q, which is %s; it is %s", name, shape, got, f.signature)
			}
		}
	}
	if known != len(callShapes) {
		t.Errorf("there are %d shapes for %d functions", len(callShapes), known)
	}
}

func TestLatencyClasses(t *testing.T) {
	t.Parallel()
	for d := time.Duration(0); d < 1<<40; d += d/7 + 1 {
		class := classOf(d)
		if top := ceiling(class); top < d || d > 8 && top > d+d/4 {
			t.Fatalf("%d ns is in the class up to %d ns", d, top)
		}
		if class > 0 && ceiling(class-1) >= max(d, 4) {
			t.Fatalf("%d ns would fit into the class before, up to %d ns", d, ceiling(class-1))
		}
	}
	if class := classOf(1 << 62); class != len(latency{}.classes)-1 {
		t.Errorf("a time without end is in class %d", class)
	}

	var l latency
	if got := l.quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %s", got)
	}
	for range 98 {
		l.note(time.Microsecond, 1)
	}
	l.note(time.Second, 2) // stands for two
	if p50, p98, p99 := l.quantile(0.5), l.quantile(0.98), l.quantile(0.99); p50 < time.Microsecond || p50 > 1250 || p98 != p50 || p99 < time.Second {
		t.Errorf("p50 %s, p98 %s, p99 %s", p50, p98, p99)
	}
}
