package main

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/pluginkit"
)

// completed is what a shell offers for the first argument of a command; further ones have nothing. Commands that are not here have nothing
// either: without a word the shell would offer files.
func completed(config *string) map[string]cobra.CompletionFunc {
	stores := named(config, func(c *core.Config) []string { return slices.Collect(maps.Keys(c.KV)) })
	apps := named(config, applications)
	modules := cobra.FixedCompletions([]string{"wasm", "js"}, cobra.ShellCompDirectiveFilterFileExt)
	folders := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	all := map[string]cobra.CompletionFunc{
		"php-server": folders, "plugin build": folders, "plugin dev": folders, "sdk export": folders,
		"plugin check": modules, "plugin run": modules, "plugin bench": modules, "plugin sign": modules, "plugin verify": modules,
		"plugin keygen": files, "migrate": files,
		"ws ls": apps, "ws channels": apps, "ws send": apps, "ws kick": apps,
	}
	for _, name := range []string{"ls", "get", "set", "del", "ttl", "stats", "export", "import", "compact"} {
		all["kv "+name] = stores
	}
	return all
}

func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// named offers names of edge.yaml. A file that is not sound offers nothing.
func named(config *string, names func(*core.Config) []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		cfg, err := core.Load(*config, os.Environ())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list := names(cfg)
		slices.Sort(list)
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// applications are those of WebSockets.
func applications(c *core.Config) []string {
	if c.WS == nil {
		return nil
	}
	list := slices.Collect(maps.Keys(c.WS.Raw))
	if c.WS.Pusher != nil {
		list = slices.AppendSeq(list, maps.Keys(c.WS.Pusher.Apps))
	}
	return list
}

// completeArguments tells shells what arguments and values of flags there are.
func completeArguments(root *cobra.Command, config *string) error {
	byName := completed(config)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		first := byName[strings.TrimPrefix(cmd.CommandPath(), "edge ")]
		if cmd.ValidArgsFunction == nil && !cmd.HasSubCommands() {
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
				if first == nil || len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return first(cmd, args, begun)
			}
		}
	}
	walk(root)
	if err := root.MarkPersistentFlagFilename("config", "yaml", "yml"); err != nil {
		return err
	}
	create, _, err := root.Find([]string{"plugin", "new"})
	if err != nil {
		return err
	}
	for flag, values := range map[string][]string{"lang": pluginkit.Languages(), "kind": pluginkit.Kinds()} {
		if err := create.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return err
		}
	}
	return nil
}
