package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

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
func welcome(w io.Writer, cfg *core.Config, addresses []string) {
	if len(addresses) == 0 {
		return
	}
	fmt.Fprintf(w, "\nEdge %s serves\n", core.Version)
	for _, a := range addresses {
		fmt.Fprintf(w, "  %s\n", a)
	}
	fmt.Fprintf(w, "\nTry\n  curl %s\n", addresses[0])
	for _, a := range addresses {
		if strings.HasPrefix(a, "https://") {
			fmt.Fprintf(w, "  curl -k --http2 %s          (-k: until `edge trust` has installed the local CA)\n", a)
			break
		}
	}
	if cfg.Plugins != nil {
		fmt.Fprintf(w, "  cp some-plugin.wasm %s/          (loads while the server runs; rm unloads)\n", cfg.Plugins.Dir)
	}
	for name, pool := range cfg.PHP {
		if len(pool.Watch) > 0 {
			fmt.Fprintf(w, "  edit %s          (pool %s reloads by itself)\n", strings.Join(pool.Watch, " "), name)
			break
		}
	}
	fmt.Fprint(w, "  edge status | edge workers | edge plugin ls | edge reload\n\nStop with Ctrl-C.\n\n")
}
