package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	peers := func(name string) string {
		if name == peersVariable {
			return "caddy=http://127.0.0.1:81, frank=http://me:secret@127.0.0.1:82/app/"
		}
		return ""
	}
	opts, err := parseOptions([]string{"-scenario", "json,hello", "-runs", "3", "-duration", "2s", "-threads", "2"}, peers, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(opts.scenarios) != 2 || opts.scenarios[0].Name != "hello" {
		t.Errorf("scenarios are %s, want those of the table in its order", joinNames(opts.scenarios))
	}
	if got, want := joinNames(opts.targets), joinNames(targets)+", caddy, frank"; got != want {
		t.Errorf("targets are %s, want %s", got, want)
	}
	if opts.runs != 3 || opts.load.duration != 2*time.Second {
		t.Errorf("got %+v", opts)
	}
	want := "BENCH_PEERS=caddy=http://127.0.0.1:81,frank=http://me:xxxxx@127.0.0.1:82/app " +
		"go run ./internal/bench -scenario json -runs 3 -duration 2s -connections 16 -threads 2"
	measurements := opts.measurements()
	var got []string
	for _, m := range measurements {
		got = append(got, fmt.Sprintf("%s %d/%d", m.scenario.Name, m.load.connections, m.load.threads))
	}
	if want := "hello 16/2, hello 1/1, hello 64/2, hello 512/2, json 16/2"; strings.Join(got, ", ") != want {
		t.Errorf("measured are %s, want %s", strings.Join(got, ", "), want)
	}
	if got := measurements[1].targets; !slices.Equal(got, append(slices.Clone(essentials), "caddy", "frank")) {
		t.Errorf("with one connection %s are measured, want the essential targets and the peers", got)
	}
	if got := opts.command(measurements[4]); got != want {
		t.Errorf("command is\n%s, want\n%s", got, want)
	}
	if got, want := opts.command(measurements[1]), "-connections 1 -threads 1 -target edge-php,nginx-fpm,bare-go"; !strings.HasSuffix(got, want) {
		t.Errorf("command is\n%s, want\n%s at its end", got, want)
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, peers, want string }{
		{args: "-scenario helo", want: `no scenario is called "helo"; there are hello, json, `},
		{args: "-target apache", want: `no target is called "apache"`},
		{args: "-target edge -out x.md", want: "exclude each other"},
		{args: "-runs 0", want: "-runs: must be at least 1, got 0"},
		{args: "-duration 1500ms", want: "whole seconds"},
		{args: "-duration 0s", want: "whole seconds"},
		{args: "-threads 0", want: "at least 1, got 0"},
		{args: "-connections 1,x", want: `different numbers of at least 1, such as 1,16; got "1,x"`},
		{args: "-connections 0", want: "at least 1"},
		{args: "-connections 4,4", want: "different numbers"},
		{args: "-scenario post-64k -target edge", want: "none of edge serves the scenario post-64k"},
		{args: "hello", want: `unexpected argument "hello"`},
		{peers: "caddy", want: "name=http://host:port"},
		{peers: "caddy=127.0.0.1:80", want: "name=http://host:port"},
		{peers: "=http://127.0.0.1:80", want: "name=http://host:port"},
		{peers: "a|b=http://127.0.0.1:80", want: "would break"},
		{peers: "edge=http://127.0.0.1:80", want: "is taken"},
		{peers: "a=http://127.0.0.1:80,a=http://127.0.0.1:81", want: "is taken"},
	} {
		_, err := parseOptions(strings.Fields(test.args), func(string) string { return test.peers }, io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q with peers %q: got %v, want %q", test.args, test.peers, err, test.want)
		}
	}
}
