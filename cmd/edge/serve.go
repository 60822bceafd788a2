package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
)

func serveCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server until SIGTERM or SIGINT",
		Long: `Run the server until SIGTERM or SIGINT.

The first SIGTERM or SIGINT drains: requests in flight finish, workers stop, the exit code is 0. A second one exits at once
with 1. SIGHUP reads edge.yaml again, as "edge reload" does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), *config, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func serve(ctx context.Context, path string, stdout, stderr io.Writer) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	cfg, err := core.Load(path, os.Environ())
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	server, err := core.New(ctx, cfg, core.Options{ConfigPath: path, Environ: os.Environ(), LogOutput: stderr})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(signals)
	defer signal.Stop(signals)
	wg.Go(func() { handleSignals(signals, server, cancel) }) // ends when signals is closed

	if err := server.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped by a signal before it served
		}
		return err
	}
	welcome(stdout, cfg, server.Addresses())
	err = server.Wait(ctx)
	return errors.Join(err, server.Stop(context.Background()))
}

// handleSignals stops on the first SIGTERM or SIGINT, exits on the second, reloads on SIGHUP.
func handleSignals(signals <-chan os.Signal, server *core.Edge, stop func()) {
	stopping := false
	for s := range signals {
		switch {
		case s == syscall.SIGHUP:
			server.ReloadFile(context.Background()) // it logs why it refused
		case stopping:
			fmt.Fprintln(os.Stderr, "edge: second signal, exit forced")
			os.Exit(1) // workers follow: they are told to die with their parent
		default:
			stopping = true
			stop()
		}
	}
}

// welcome says where the server is and what to try next.
func welcome(w io.Writer, cfg *core.Config, addresses []core.Address) {
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
		if slices.Contains(a.Protocols, "h2") {
			fmt.Fprintf(t, "  curl -k --http2 %s\t-k until `edge trust` has installed the local CA\n", a.URL)
			break
		}
	}
	for _, a := range addresses {
		if slices.Contains(a.Protocols, "h3") {
			fmt.Fprintf(t, "  go run ./examples/demo/h3 %s\tHTTP/3, which many a curl does not speak\n", a.URL)
			break
		}
	}
	if cfg.Plugins != nil {
		fmt.Fprintf(t, "  cp any.wasm %s/\tit runs at once; rm unloads it\n", shortPath(cfg.Plugins.Dir))
	}
	for name, pool := range cfg.PHP {
		if len(pool.Watch) > 0 {
			fmt.Fprintf(t, "  edit %s\tpool %s reloads by itself\n", shortPath(pool.Watch[0]), name)
			break
		}
	}
	fmt.Fprint(t, "  edge status | workers | plugin ls | reload\tfrom another terminal\n")
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
