package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/gcpace"
	"github.com/edge-server/edge/core/pluginkit"
	"github.com/edge-server/edge/core/upgrade"
)

func serveCommand(config *string) *cobra.Command {
	var dev bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server until SIGTERM or SIGINT",
		Long: `Run the server until SIGTERM or SIGINT.

The first SIGTERM or SIGINT drains: requests in flight finish, workers stop, the exit code is 0. A second one exits at once
with 1. SIGHUP reads edge.yaml again, as "edge reload" does. SIGUSR2 starts the program anew in the place of this process, as "edge upgrade"
does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), *config, dev, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "build plugins whose source is below the plugin folder again when it is saved")
	return cmd
}

func serve(ctx context.Context, path string, dev bool, stdout, stderr io.Writer) error {
	predecessor, environ, err := upgrade.Arrive(ctx, os.Environ())
	if err == nil {
		err = serveAfter(ctx, predecessor, environ, path, dev, stdout, stderr)
	}
	if err != nil && predecessor != nil {
		predecessor.Failed(err)
	}
	return err
}

// serveAfter serves in the place of another process, or of none.
func serveAfter(
	ctx context.Context, predecessor *upgrade.Predecessor, environ []string, path string, dev bool, stdout, stderr io.Writer,
) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	cfg, err := core.Load(path, environ)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	hard, cut := context.WithCancelCause(context.Background()) // of the stop: what is cut still writes what stores hold
	hangups, release := handleSignals(&wg, cancel, cut, stderr)
	defer release()

	builds := devBuilds(cfg, dev, stderr)
	if builds != nil {
		builds.Begin(ctx) // a plugin that edge.yaml names must be there when the server starts
	}
	usr2, release2 := upgradeSignals()
	defer release2()
	server, err := core.New(ctx, cfg, core.Options{
		ConfigPath: path, Environ: environ, LogOutput: stderr, Predecessor: predecessor,
		Successor: successor(environ, os.Stdout, os.Stderr),
	})
	if err == nil {
		slog.SetDefault(server.Logger()) // for libraries that write to the log package, such as quic-go
		err = server.Start(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped by a signal before it served
		}
		return err
	}
	defer gcpace.Start()()
	wg.Go(func() { reloadOn(ctx, hangups, server) }) // ends with ctx
	wg.Go(func() { upgradeOn(ctx, usr2, server) })   // ends with ctx
	if builds != nil {
		wg.Go(func() { builds.Run(ctx) }) // ends with ctx
	}
	if os.Getenv("JOURNAL_STREAM") == "" { // in systemd's journal nobody tries anything, and the log has the addresses
		welcome(stdout, commandLine(path), cfg, server.Addresses())
	}
	err = server.Wait(ctx)
	return errors.Join(err, server.Stop(hard), context.Cause(hard))
}

// devBuilds builds the plugins below the plugin folder; nil without --dev, or without such a folder.
func devBuilds(cfg *core.Config, dev bool, stderr io.Writer) *pluginkit.DevFolder {
	if !dev || cfg.Plugins == nil || cfg.Plugins.Dir == "" {
		return nil
	}
	return pluginkit.NewDevFolder(cfg.Plugins.Dir, cfg.PluginFiles(), stderr)
}

// handleSignals calls stop on the first SIGTERM or SIGINT, cut on the second, and exits on the third, whatever the server is doing
// then. A SIGHUP is handed on; several that come during one reload are one. Until release is called, signals do nothing else.
func handleSignals(wg *sync.WaitGroup, stop func(), cut func(error), stderr io.Writer) (hangups <-chan os.Signal, release func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	end := make(chan os.Signal, 2)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	wg.Go(func() { // ends when end is closed
		if _, ok := <-end; !ok {
			return
		}
		stop()
		if _, ok := <-end; ok {
			fmt.Fprintln(stderr, "edge: second signal, exit forced: only what the stores hold is still written")
			cut(errForced)
			awaitForced(end, func() { os.Exit(1) })
		}
	})
	return hup, func() {
		signal.Stop(hup)
		signal.Stop(end)
		close(end)
	}
}

// reloadOn reads edge.yaml again for each signal.
func reloadOn(ctx context.Context, hangups <-chan os.Signal, server *core.Edge) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			_ = server.ReloadFile(ctx) // it logs why it refused
		}
	}
}

// commandLine is how the user calls this program for the edge.yaml at path: ./edge, or edge -c dir/edge.yaml.
func commandLine(path string) string {
	if short := shortPath(path); short != "edge.yaml" {
		return os.Args[0] + " -c " + short
	}
	return os.Args[0]
}

// ownCertificates reports whether clients get certificates of the local CA, and of nobody else.
func ownCertificates(cfg *core.Config) bool {
	return cfg.HTTP == nil || cfg.HTTP.TLS.Cert == "" && len(cfg.HTTP.TLS.Certificates) == 0 && cfg.HTTP.TLS.ACME == nil
}

// welcome says where the server is and what to try next; edge is how the user calls this program.
func welcome(w io.Writer, edge string, cfg *core.Config, addresses []core.Address) {
	if len(addresses) == 0 {
		return
	}
	fmt.Fprintf(w, "\nEdge %s serves\n", core.Version)
	for _, a := range addresses {
		fmt.Fprintf(w, "  %s  %s\n", a.URL, strings.Join(a.Protocols, " "))
	}

	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "\nTry\n  curl %s\t\n", addresses[0].URL)
	for _, a := range addresses {
		if slices.Contains(a.Protocols, "h2") && ownCertificates(cfg) {
			fmt.Fprintf(t, "  curl -k --http2 %s\t-k until `%s trust` has installed the local CA\n", a.URL, edge)
			break
		}
	}
	for _, a := range addresses {
		if _, err := os.Stat("examples/demo/h3"); err == nil && slices.Contains(a.Protocols, "h3") {
			fmt.Fprintf(t, "  go run ./examples/demo/h3 %s\tHTTP/3, which many a curl does not speak\n", a.URL)
			break
		}
	}
	if cfg.Plugins != nil && cfg.Plugins.Auto && cfg.Plugins.Dir != "" {
		fmt.Fprintf(t, "  cp any.wasm %s/\tit runs at once; rm unloads it\n", shortPath(cfg.Plugins.Dir))
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.PHP)) {
		if watch := cfg.PHP[name].Watch; len(watch) > 0 {
			fmt.Fprintf(t, "  edit %s\tpool %s reloads by itself\n", shortPath(watch[0]), name)
			break
		}
	}
	fmt.Fprintf(t, "  %s status | workers | plugin ls | reload\tfrom another terminal\n", edge)
	t.Flush()
	fmt.Fprint(w, "\nCtrl-C stops, after the requests in flight.\n\n")
}

// shortPath is path as seen from the working folder, where that is shorter.
func shortPath(path string) string {
	if here, err := os.Getwd(); err == nil {
		if relative, err := filepath.Rel(here, path); err == nil && len(relative) < len(path) {
			return relative
		}
	}
	return path
}
