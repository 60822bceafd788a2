package core

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestCheckOfStores finds what would keep stores from being opened, and leaves nothing behind.
func TestCheckOfStores(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("notes.txt", "this is no file of bolt, however long it may be")
	check := func(stores string) error {
		write("edge.yaml", "version: 1\nstate_dir: "+dir+"/state\nkv:\n"+stores)
		cfg, err := Load(filepath.Join(dir, "edge.yaml"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return Check(t.Context(), cfg, Options{LogOutput: io.Discard})
	}
	if err := check(`
  sessions: {driver: boltdb}
  flags:    {driver: boltdb, boltdb: {bucket: other}}
  pages:    {driver: memory, snapshot: state/pages.snapshot}
  shared:   {driver: redis, redis: {addresses: ["127.0.0.1:1"]}}
  objects:  {driver: memcached, memcached: {addresses: ["127.0.0.1:1"]}}
`); err != nil {
		t.Errorf("sound stores: %v", err)
	}
	for _, c := range []struct{ name, stores, want string }{
		{"bucket taken", `
  one: {driver: boltdb, boltdb: {file: a.db, bucket: b}}
  two: {driver: boltdb, boltdb: {file: ./a.db, bucket: b}}`, `kv.two: store "one" has bucket b`},
		{"settings of a file", `
  one: {driver: boltdb, boltdb: {file: a.db, sync: always}}
  two: {driver: boltdb, boltdb: {file: a.db, sync: never}}`, "kv.two: store \"one\" has the same file"},
		{"no file of bolt", `
  one: {driver: boltdb, boltdb: {file: notes.txt}}`, "notes.txt is not a file of bolt"},
		{"no file", `
  one: {driver: boltdb, boltdb: {file: .}}`, "is no file"},
		{"no folder", `
  one: {driver: boltdb, boltdb: {file: nowhere/a.db}}`, "kv.one: boltdb.file " + dir + "/nowhere/a.db: the folder " + dir + "/nowhere takes no file: no such file or directory"},
		{"a file as folder", `
  one: {driver: memory, snapshot: notes.txt/a}`, "kv.one: "},
		{"ca of redis", `
  one: {driver: redis, redis: {addresses: ["127.0.0.1:1"], tls: {ca: nowhere.pem}}}`, "nowhere.pem"},
		{"ca of memcached", `
  one: {driver: memcached, memcached: {addresses: ["127.0.0.1:1"], tls: {ca: nowhere.pem}}}`, "nowhere.pem"},
	} {
		if err := check(c.stores); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nlacks %q", c.name, err, c.want)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("the checks left %v, %v", left, err)
	}
}
