package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/upgrade"
)

func upgradeCommand(config *string) *cobra.Command {
	var binary string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Put a new binary in the place of the running server without refusing a connection",
		Long: `Put a new binary in the place of the running server without refusing a connection.

The server starts the new binary with its own arguments and environment and hands it all listening sockets. When the new one is ready (its
edge.yaml is valid, its workers have booted) it takes over; the old one finishes what it has begun, tells its WebSockets to connect again,
and exits. When the new one fails, or is not ready in time, the old one serves on and this command says why.

SIGUSR2 to the server does the same with the file it was started from.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := upgrade.Supported(); err != nil {
				return err
			}
			if binary != "" {
				var err error
				if binary, err = filepath.Abs(binary); err != nil {
					return err
				}
			}
			c, err := client(*config)
			if err != nil {
				return err
			}
			done, err := c.Upgrade(cmd.Context(), binary, timeout)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "upgraded: edge %s, pid %d, serves after %s\n", done.Version, done.PID, done.Took.Round(time.Millisecond))
			return nil
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "the new program (default: the file that the server was started from, as it is now)")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long the new program may take until it serves")
	return cmd
}

// successor says what takes the place of this process in an upgrade: the program at the same path, called in the same way.
func successor(environ []string, stdout, stderr *os.File) *upgrade.Options {
	binary, err := os.Executable()
	if err != nil {
		binary = os.Args[0]
	}
	return &upgrade.Options{Binary: binary, Args: os.Args[1:], Environ: environ, Stdout: stdout, Stderr: stderr}
}

// upgradeOn starts an upgrade for each signal.
func upgradeOn(ctx context.Context, signals <-chan os.Signal, server *core.Edge) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			_, _ = server.Upgrade(ctx, "", 0) // it logs why it failed
		}
	}
}
