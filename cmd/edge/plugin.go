package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/pluginkit"
)

func pluginCommand(config *string) *cobra.Command {
	plugin := &cobra.Command{
		Use:   "plugin",
		Short: "Write, build, check, run, measure and sign wasm plugins; list those of the running server",
	}
	plugin.AddCommand(
		pluginNew(), pluginBuild(), pluginDev(), pluginCheck(config), pluginRun(config), pluginBench(config),
		pluginKeygen(), pluginSign(), pluginVerify(config), pluginList(config),
	)
	return plugin
}

// oneArgument is one argument, and what it is when it is missing.
func oneArgument(argument, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("%s is missing, %s: edge plugin %s %s", argument, what, cmd.Name(), argument)
		case len(args) > 1:
			return fmt.Errorf("takes one %s, and got %q: quote what belongs together", argument, args)
		}
		return nil
	}
}

func pluginNew() *cobra.Command {
	var language, kind string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a new plugin into the folder NAME, with the SDK that it builds with",
		Args:  oneArgument("NAME", "a name for the plugin and its folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := pluginkit.New(args[0], language, kind); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is a plugin now: see its README.md. Next:\n  edge plugin build %s\n", args[0], args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&language, "lang", "", strings.Join(pluginkit.Languages(), ", "))
	cmd.Flags().StringVar(&kind, "kind", "middleware", strings.Join(pluginkit.Kinds(), ", "))
	return cmd
}

func pluginBuild() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Build the plugin in a folder with the toolchain of its language",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			project, err := pluginkit.OpenProject(folderOf(args))
			if err != nil {
				return err
			}
			if out == "" {
				out = project.Output()
			}
			began := time.Now()
			if err := project.Build(cmd.Context(), out, cmd.ErrOrStderr()); err != nil {
				return err
			}
			info, err := os.Stat(out)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, in %s\n", shortPath(out), pluginkit.Size(info.Size()), time.Since(began).Round(10*time.Millisecond))
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write (default DIR/NAME.wasm)")
	return cmd
}

func pluginDev() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Build the plugin in a folder again whenever its source is saved, until Ctrl-C",
		Long: `Build the plugin in a folder again whenever its source is saved, until Ctrl-C.

A plugin below plugins-wasm/ is put there as plugins-wasm/NAME.wasm, so that a running server swaps it. "edge serve --dev"
does so for all plugins below the plugin folder.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, release := untilSignal(cmd.Context())
			defer release()
			return pluginkit.Dev(ctx, folderOf(args), out, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write (default plugins-wasm/NAME.wasm if DIR is in such a folder, else DIR/NAME.wasm)")
	return cmd
}

func folderOf(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	return "."
}

// target is the plugin in file, configured by edge.yaml if -c names one.
func target(cmd *cobra.Command, config, file string) (pluginkit.Target, error) {
	if !cmd.Flags().Changed("config") {
		return pluginkit.NewTarget(file, nil)
	}
	cfg, err := core.Load(config, os.Environ())
	if err != nil {
		return pluginkit.Target{}, err
	}
	if cfg.Plugins == nil {
		return pluginkit.Target{}, fmt.Errorf("%s has no plugins section", config)
	}
	return pluginkit.NewTarget(file, cfg.Plugins)
}

func pluginCheck(config *string) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what a plugin is and needs, and whether Edge would run it",
		Long: `Say what a plugin is and needs, and whether Edge would run it; the exit status is 1 if not.

With -c edge.yaml it is checked as that server would run it: with its limits, grants, pin and trusted keys. Without, the
plugin is granted what it asks for, and what to write into edge.yaml is shown.`,
		Args: oneArgument("FILE", "the built plugin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := f.target(cmd, *config, args[0])
			if err != nil {
				return err
			}
			return pluginkit.Check(cmd.Context(), t, cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	return cmd
}

// configFlags are what a plugin is configured with beside edge.yaml.
type configFlags struct {
	configJSON string
	configText string
	allow      []string
}

func (f *configFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.configJSON, "config-json", "", "the plugin's config, as JSON")
	flags.StringVar(&f.configText, "config-text", "", "the plugin's config, as a text")
	flags.StringArrayVar(&f.allow, "allow", nil, "a grant, such as kv=sessions or net=https://api.example.com/*, repeated")
	cmd.MarkFlagsMutuallyExclusive("config-json", "config-text")
}

// trialFlags are those of run and bench.
type trialFlags struct {
	configFlags
	trial pluginkit.Trial
}

func (f *trialFlags) add(cmd *cobra.Command) {
	f.configFlags.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.trial.Request, "request", "", "'METHOD /path?query' (default GET /)")
	flags.StringArrayVarP(&f.trial.Headers, "header", "H", nil, "'Name: value' of the request, repeated")
	flags.StringVarP(&f.trial.Body, "data", "d", "", "body of the request")
	flags.IntVar(&f.trial.NextStatus, "next-status", http.StatusOK, "what the rest of the chain answers with")
	flags.StringVar(&f.trial.NextBody, "next-body", "", "its body")
}

func (f *configFlags) target(cmd *cobra.Command, config, file string) (pluginkit.Target, error) {
	t, err := target(cmd, config, file)
	if err != nil {
		return t, err
	}
	if f.configText != "" {
		t.Configure(f.configText)
	}
	if f.configJSON != "" {
		var value any
		if err := json.Unmarshal([]byte(f.configJSON), &value); err != nil {
			return t, fmt.Errorf("--config-json: %w", err)
		}
		t.Configure(value)
	}
	return t, t.Allow(f.allow)
}

func pluginRun(config *string) *cobra.Command {
	var f trialFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Take one request through a plugin, without a server, and show what it does",
		Long: `Take one request through a plugin, without a server, and show what it does: every call between plugin and host, what the
rest of the chain gets, the answer, time, fuel and memory.

Stores are in memory, PHP pools and WebSockets say what they were asked; HTTP and TCP go out as far as --allow net=… lets
them. A cron plugin is run with --tick, a WebSocket handler with --message TEXT, a KV driver with --kv 'set KEY VALUE' and
the like.`,
		Args: oneArgument("FILE", "the built plugin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := f.target(cmd, *config, args[0])
			if err != nil {
				return err
			}
			return pluginkit.Run(cmd.Context(), t, f.trial, cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.trial.Messages, "message", nil, "a message of a WebSocket, repeated")
	flags.StringVar(&f.trial.KVConfig, "kv-config", "", "what edge.yaml has in kv.STORE.config, as JSON")
	flags.StringArrayVar(&f.trial.KV, "kv", nil, "an operation of a KV driver: 'get KEY', 'set KEY VALUE', 'delete KEY', 'incr KEY'; repeated")
	flags.BoolVar(&f.trial.Tick, "tick", false, "call the clock of a cron plugin")
	flags.BoolVarP(&f.trial.Quiet, "quiet", "q", false, "no trace of calls")
	flags.BoolVar(&f.trial.Start, "trace-start", false, "trace the start of the plugin, too")
	return cmd
}

func pluginBench(config *string) *cobra.Command {
	var f trialFlags
	var span time.Duration
	cmd := &cobra.Command{
		Use:   "bench FILE",
		Short: "Measure requests through a plugin, without a server, with and without isolation: request",
		Args:  oneArgument("FILE", "the built plugin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if span <= 0 {
				return fmt.Errorf("--time must be more than nothing, got %s", span)
			}
			t, err := f.target(cmd, *config, args[0])
			if err != nil {
				return err
			}
			return pluginkit.Bench(cmd.Context(), t, f.trial, span, cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&span, "time", time.Second, "how long to measure each")
	return cmd
}

func sdkCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "sdk",
		Short: "Get the SDKs for plugins out of this program",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(&cobra.Command{
		Use:   "export DIR",
		Short: "Write the SDKs of all languages into DIR, a folder each, with examples",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := pluginkit.ExportSDKs(args[0]); err != nil {
				return err
			}
			for _, language := range pluginkit.Languages() {
				fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(args[0], language))
			}
			return nil
		},
	})
	return command
}

// untilSignal ends with SIGINT or SIGTERM.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}
