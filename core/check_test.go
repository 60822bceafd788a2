package core

import (
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestCheckAgreesWithStart: what needs stores, services or files for logs is judged as a start would, though nothing of it is opened.
func TestCheckAgreesWithStart(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, config, want string }{
		{"cache", `
http: {listen: [{address: "127.0.0.1:0"}], cache: {pages: {store: pages}}, routes: [{respond: a, use: [cache/pages]}]}
kv: {pages: {mode: cache}}`, ""},
		{"certificates", `
http: {listen: [{address: "127.0.0.1:0", tls: true}], tls: {acme: {store: certs, domains: [a.example]}}, routes: [{respond: a}]}
kv: {certs: {driver: redis, redis: {addresses: ["127.0.0.1:1"]}}}`, ""},
		{"certificates that are forgotten", `
http: {listen: [{address: "127.0.0.1:0", tls: true}], tls: {acme: {store: certs, domains: [a.example]}}, routes: [{respond: a}]}
kv: {certs: {}}`, "http.tls.acme.store: \"certs\" (driver memory) forgets everything"},
		{"locks", `
rpc: {}
lock: {store: pages}
kv: {pages: {}}`, ""},
		{"locks that are dropped", `
rpc: {}
lock: {store: pages}
kv: {pages: {mode: cache}}`, "lock.store: pages: this store drops keys"},
		{"service", `
services: {one: {command: [true], user: USER}}`, ""},
		{"service without a program", `
services: {one: {command: [nope-there-is-none], user: USER}}`, "services.one.command"},
		{"service without a folder", `
services: {one: {command: [true], user: USER, dir: nowhere}}`, "services.one.dir"},
		{"access log", `
http: {listen: [{address: "127.0.0.1:0"}], access_log: {format: common, output: nowhere/access.log}, routes: [{respond: a}]}`,
			"http.access_log.output"},
	} {
		dir := testenv.Dir(t)
		path := filepath.Join(dir, "edge.yaml")
		if err := os.WriteFile(path, []byte("version: 1\n"+strings.ReplaceAll(strings.TrimPrefix(c.config, "\n"), "USER", me.Username)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(path, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		opts := Options{ConfigPath: path, Environ: os.Environ(), LogOutput: io.Discard}
		switch err = Check(t.Context(), cfg, opts); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
