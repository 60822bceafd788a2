package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/admin/ui"
)

func uiCommand(config *string) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Watch the running server in a browser: what edge top shows, with charts",
		Long: `Watch the running server in a browser: what edge top shows, with charts.

This command serves the page, on a loopback address, until Ctrl-C; without it there
is none. The page can look, and do nothing else. The link that is printed opens it
once; start the command again for another browser. For a server elsewhere, run it
there and forward the port:

  ssh -L 9191:127.0.0.1:9191 server edge ui -c /srv/app/edge.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			if _, err := c.Overview(cmd.Context()); err != nil {
				return err // before anything listens
			}
			return serveUI(cmd.Context(), c, listen, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9191", "loopback `address` of the page; port 0 is any free one")
	return cmd
}

// serveUI serves the page until a signal comes.
func serveUI(ctx context.Context, c *admin.Client, listen string, stdout, stderr io.Writer) error {
	if addr, err := netip.ParseAddrPort(listen); err != nil || !addr.Addr().IsLoopback() {
		return fmt.Errorf("--listen %s: must be a loopback address such as 127.0.0.1:9191; reach it from elsewhere through ssh -L", listen)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w; --listen 127.0.0.1:0 takes any free port", listen, err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	look := func(ctx context.Context) (json.RawMessage, error) { return c.OverviewJSON(ctx) }
	page := ui.New(look, slog.New(slog.NewTextHandler(stderr, nil)))
	fmt.Fprintf(stdout, "Open http://%s/#%s\n\nThe link works once. Ctrl-C ends the page.\n", l.Addr(), page.Key())
	return page.Serve(ctx, l)
}
