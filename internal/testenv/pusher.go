package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// PusherClients returns a folder with the scripts of ws/pusher/testdata/clients and the pinned packages that they import:
// pusher-js, laravel-echo and the server library of Pusher.
func PusherClients(t testing.TB) string {
	t.Helper()
	packages := filepath.Dir(filepath.Dir(local(t, "pusher-js", "pusher", "node_modules", "pusher-js")))
	dir := Dir(t)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(Root(t), "ws", "pusher", "testdata", "clients"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}
