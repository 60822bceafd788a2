package core

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/internal/testenv"
)

// TestReferenceFileIsTrue: edge.yaml documents every key, and what stands behind `#: ` is the default of the code.
func TestReferenceFileIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "edge.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	live, withDefaults := DefaultConfig(), DefaultConfig()
	if _, err := configfile.Parse("edge.yaml", text, nil, &live); err != nil {
		t.Fatalf("the demo: %v", err)
	}
	file, err := configfile.Parse("edge.yaml", configfile.Documented(text), nil, &withDefaults)
	if err != nil {
		t.Fatalf("without the comment marks: %v", err)
	}

	// Sections that only the comments switch on are compared with their defaults, the others with what the demo gets.
	live.Telemetry.Metrics = new(MetricsConfig{}.Defaults().(MetricsConfig))
	for _, difference := range configfile.Diff(withDefaults, live) {
		t.Errorf("edge.yaml documents another default than the code has: %s", difference)
	}

	documented := file.Keys()
	for _, key := range configfile.Keys(Config{}) {
		if !slices.ContainsFunc(documented, func(d string) bool { return d == key || strings.HasPrefix(d, key+".") || strings.HasPrefix(d, key+"[") }) {
			t.Errorf("edge.yaml does not document %s", key)
		}
	}
}
