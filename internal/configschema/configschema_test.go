package configschema

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/docs"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var update = flag.Bool("update", false, "write docs/edge.schema.json")

// TestSchemaIsWhatTheStructsSay: the file that is committed, and that `edge schema` prints, is the one of this code.
func TestSchemaIsWhatTheStructsSay(t *testing.T) {
	root := testenv.Root(t)
	made, err := Generate(root)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(filepath.Join(root, "docs", "edge.schema.json"), made, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(made, docs.Schema()) {
		t.Error("docs/edge.schema.json is not what the configuration structs say: run make schema, and commit it")
	}
}
