package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// tool is a program that bench needs and does not build.
type tool struct {
	names   []string // what it is called, the best first; patterns of filepath.Match are allowed
	install string
}

// tools by the key that targets use.
var tools = map[string]tool{
	"wrk":     {[]string{"wrk"}, "apt-get install wrk"},
	"php":     {[]string{"php"}, "apt-get install php-cli"},
	"nginx":   {[]string{"nginx"}, "apt-get install nginx-light"},
	"php-fpm": {[]string{"php-fpm", "php-fpm[0-9]*"}, "apt-get install php-fpm"},
	"php-cgi": {[]string{"php-cgi"}, "apt-get install php-cgi"},
	"clang":   {[]string{"clang"}, "apt-get install clang lld"},
	"wasm-ld": {[]string{"wasm-ld", "wasm-ld-[0-9]*"}, "apt-get install lld"},
	"go":      {[]string{"go"}, "see https://go.dev/doc/install"},

	"caddy":  {[]string{"caddy"}, "make deps, with .tools/ in the PATH"},
	"h2load": {[]string{"h2load"}, "apt-get install nghttp2-client"},

	"rustc": {[]string{"rustc"}, "apt-get install rustc libstd-rust-dev-wasm32"},

	"redis-server": {[]string{"redis-server"}, "apt-get install redis-server php-redis"},
	"memcached":    {[]string{"memcached"}, "apt-get install memcached"},
}

// findTools looks for wrk and for the tools of the targets, of the key-value stores, of WebSockets, of plugins and of files. Everything that is missing is in the error.
func (w *workspace) findTools(targets []target, stores, sockets, plugins, files bool) error {
	needed := map[string][]string{}
	if len(targets) > 0 {
		needed["wrk"] = []string{"the measurement"}
	}
	if stores {
		for _, key := range []string{"go", "php", "redis-server", "memcached", "rustc"} {
			needed[key] = []string{"the key-value stores"}
		}
	}
	if sockets {
		for _, key := range []string{"go", "php"} {
			needed[key] = append(needed[key], "WebSockets")
		}
	}
	if plugins {
		for _, key := range []string{"go", "clang", "wasm-ld"} {
			needed[key] = append(needed[key], "plugins")
		}
	}
	if files {
		for _, key := range []string{"wrk", "h2load", "caddy", "go", "clang", "wasm-ld"} {
			needed[key] = append(needed[key], "files")
		}
	}
	for _, t := range targets {
		for _, key := range t.Tools {
			needed[key] = append(needed[key], t.Name)
		}
	}
	var errs []error
	for key, users := range needed {
		path, found := tools[key].find()
		if !found {
			errs = append(errs, fmt.Errorf("%s is missing, needed by %v: %s", key, users, tools[key].install))
		}
		w.tool[key] = path
	}
	slices.SortFunc(errs, func(a, b error) int { return slices.Compare([]byte(a.Error()), []byte(b.Error())) })
	return errors.Join(errs...)
}

// find searches PATH and the sbin folders, which Debian leaves out of a user's PATH.
func (t tool) find() (string, bool) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), ".tools", "/usr/local/sbin", "/usr/sbin", "/sbin")
	for _, name := range t.names {
		for _, dir := range dirs {
			matches, err := filepath.Glob(filepath.Join(dir, name))
			if err != nil {
				continue
			}
			slices.Sort(matches)
			for _, path := range slices.Backward(matches) { // the newest version first
				if found, err := exec.LookPath(path); err == nil {
					return found, true
				}
			}
		}
	}
	return "", false
}
