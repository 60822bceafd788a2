package main

import "github.com/spf13/cobra"

// groups are the headings of `edge --help`, and the commands below them.
var groups = []struct {
	id, title string
	commands  []string
}{
	{"serve", "Serve:", []string{"serve", "php-server", "rr"}},
	{"running", "Ask the running server:", []string{"status", "top", "ui", "workers", "services", "config", "kv", "ws", "cache"}},
	{"change", "Change the running server:", []string{"reload", "upgrade", "drain"}},
	{"files", "Write and check edge.yaml:", []string{"check", "routes", "schema", "migrate", "passwd", "trust"}},
	{"plugins", "Plugins:", []string{"plugin", "sdk"}},
}

const overview = `Edge serves PHP applications, files and wasm plugins over HTTP/1, 2 and 3, with
TLS, WebSockets and stores of keys and values.

It reads edge.yaml in the working folder, or the file that -c names. Without any
configuration "edge php-server" serves a folder with PHP.`

const firstSteps = `  edge php-server public          serve a folder with PHP at http://127.0.0.1:8000
  edge check && edge serve        look for mistakes in edge.yaml, then serve
  edge reload                     apply what has changed, without losing a request
  edge top                        watch what the server does`

// refuseUnknown has commands that are only a heading for others refuse what is none of these: cobra shows them help, and exits with 0.
func refuseUnknown(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.HasSubCommands() && !sub.Runnable() {
			sub.Args = cobra.NoArgs
			sub.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		refuseUnknown(sub)
	}
}

// arrange gives the help its order and its first words.
func arrange(root *cobra.Command) {
	root.Long, root.Example = overview, firstSteps
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, name := range g.commands {
			for _, cmd := range root.Commands() {
				if cmd.Name() == name {
					cmd.GroupID = g.id
				}
			}
		}
	}
}
