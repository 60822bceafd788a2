package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// MercureClients returns a folder with the scripts of ws/mercure/testdata/clients and the pinned package that they import, eventsource.
func MercureClients(t testing.TB) string {
	t.Helper()
	packages := filepath.Dir(filepath.Dir(local(t, "eventsource", "mercure", "node_modules", "eventsource")))
	dir := Dir(t)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(Root(t), "ws", "mercure", "testdata", "clients"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}
