package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
)

func phpServerCommand() *cobra.Command {
	s := core.PHPServer{Dir: "."}
	cmd := &cobra.Command{
		Use:   "php-server [dir]",
		Short: "Serve the PHP application of a folder, without an edge.yaml",
		Long: `Serve the PHP application of a folder, without an edge.yaml.

The web sees dir/public when that has an index.php, else dir. Files are served, except for sources, dotfiles and backups; a path
that names a script runs it; all others run index.php, which finds the path in REQUEST_URI. Scripts run unchanged, under php-cgi
or php-fpm, or in the FastCGI server that --fastcgi names. With --worker, a worker script answers instead.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				s.Dir = args[0]
			}
			if err := servePHP(cmd.Context(), s, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return errors.New(err.Error()) // a missing file is not the edge.yaml that run would think of
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&s.Listen, "listen", "l", "127.0.0.1:8000", "`address` to listen at, host:port")
	cmd.Flags().BoolVar(&s.HTTPS, "https", false, "speak HTTPS, with a certificate of the local CA")
	cmd.Flags().StringVarP(&s.Worker, "worker", "w", "", "worker `script` that answers in place of index.php")
	cmd.Flags().StringVar(&s.FastCGI, "fastcgi", "", "`address` of a FastCGI server that runs already, such as unix:///run/php/php-fpm.sock")
	cmd.Flags().StringVarP(&s.User, "user", "u", "", "`user` of PHP, when edge runs as root (default www-data)")
	return cmd
}

func servePHP(ctx context.Context, s core.PHPServer, stdout, stderr io.Writer) (err error) {
	var remove func() error
	if s.StateDir, remove, err = phpServerState(s.HTTPS); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	cfg, err := s.Config()
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
	server, err := core.New(ctx, cfg, core.Options{Environ: os.Environ(), LogOutput: stderr})
	if err == nil {
		slog.SetDefault(server.Logger())
		err = server.Start(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped by a signal before it served
		}
		return err
	}
	wg.Go(func() { // ends with ctx
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				if err := server.Reload(ctx, cfg); err != nil {
					server.Logger().Error("reload failed, PHP runs on as before", "error", err)
				}
			}
		}
	})
	app := cfg.PHP["app"]
	what := filepath.Join(app.Root, app.Index)
	if app.Mode == "worker" {
		what = s.Worker
	}
	fmt.Fprintf(stdout, "\nEdge %s serves %s (%s mode, %s)\n", core.Version, app.Root, app.Mode, what)
	for _, a := range server.Addresses() {
		fmt.Fprintf(stdout, "  %s\n", a.URL)
	}
	fmt.Fprint(stdout, "\nCtrl-C stops.\n\n")
	err = server.Wait(ctx)
	return errors.Join(err, server.Stop(hard), context.Cause(hard))
}

// phpServerState is the state folder: one that lasts when it has a CA that browsers are to trust.
func phpServerState(lasting bool) (path string, remove func() error, err error) {
	if !lasting {
		return tempState("edge-php-server-")
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", nil, fmt.Errorf("where to keep the local CA: %w", err)
	}
	return filepath.Join(dir, "edge"), func() error { return nil }, nil
}
