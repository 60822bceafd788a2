package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core/rrcompat"
	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/rpc"
)

// dial reaches the running server at the rpc.listen of the configuration.
func (f *rrFlags) dial(ctx context.Context) (*rpc.Client, error) {
	config, err := f.load()
	if err != nil {
		return nil, err
	}
	address := config.RPC()
	if address == "" {
		return nil, rrcompat.ErrNoRPC
	}
	if path, ok := strings.CutPrefix(address, "unix://"); ok && !filepath.IsAbs(path) {
		dir, err := f.dir()
		if err != nil {
			return nil, err
		}
		address = "unix://" + filepath.Join(dir, path)
	}
	client, err := rpc.Dial(ctx, address)
	if local := loopbackOf(address); err != nil && local != "" {
		client, err = rpc.Dial(ctx, local)
	}
	if err != nil {
		return nil, fmt.Errorf("no server answers at %s: %w", address, err)
	}
	return client, nil
}

// loopbackOf is where Edge listens in the place of a TCP address that is not a loopback one; "" for others.
func loopbackOf(address string) string {
	target, isTCP := strings.CutPrefix(address, "tcp://")
	host, port, err := net.SplitHostPort(target)
	if ip := net.ParseIP(host); !isTCP || err != nil || ip != nil && ip.IsLoopback() {
		return ""
	}
	return "tcp://127.0.0.1:" + port
}

func rrReset(f *rrFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "reset [plugins]",
		Short: "Replace the workers of all or some plugins, without losing a request",
		RunE: func(cmd *cobra.Command, plugins []string) error {
			client, err := f.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			if len(plugins) == 0 {
				if err := client.Call(cmd.Context(), "resetter.List", true, &plugins); err != nil {
					return err
				}
			}
			// What is written to standard error is a failure to Laravel Octane: progress goes elsewhere.
			out := cmd.OutOrStdout()
			if f.silent {
				out = io.Discard
			}
			var errs []error
			for _, plugin := range plugins {
				fmt.Fprintf(out, "resetting plugin: [%s]\n", plugin)
				var done bool
				if err := client.Call(cmd.Context(), "resetter.Reset", plugin, &done); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(out, "plugin reset: [%s]\n", plugin)
			}
			return errors.Join(errs...)
		},
	}
}

func rrWorkers(f *rrFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workers [plugins]",
		Short: "Show the workers",
	}
	interactive := cmd.Flags().BoolP("interactive", "i", false, "show them anew every second, until Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, plugins []string) error {
		ctx, release := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer release()
		client, err := f.dial(ctx)
		if err != nil {
			return err
		}
		defer client.Close()
		if len(plugins) == 0 {
			if err := client.Call(ctx, "informer.List", true, &plugins); err != nil {
				return err
			}
		}
		for {
			if *interactive {
				fmt.Fprint(cmd.OutOrStdout(), "\x1b[H\x1b[2J") // the top left corner, a clean screen
			}
			err := showWorkers(ctx, client, plugins, cmd.OutOrStdout())
			if err != nil && ctx.Err() == nil {
				return err
			}
			if !*interactive {
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		}
	}
	return cmd
}

// rrWorker is what the informer says of a worker.
type rrWorker struct {
	PID         int     `json:"pid"`
	NumExecs    uint64  `json:"numExecs"`
	Created     int64   `json:"created"`
	MemoryUsage int64   `json:"memoryUsage"`
	CPUPercent  float64 `json:"CPUPercent"`
	Status      string  `json:"statusStr"`
}

func showWorkers(ctx context.Context, client *rpc.Client, plugins []string, out io.Writer) error {
	for _, plugin := range plugins {
		var list struct {
			Workers []rrWorker `json:"workers"`
		}
		if err := client.Call(ctx, "informer.Workers", plugin, &list); err != nil {
			return err
		}
		if len(list.Workers) == 0 {
			continue
		}
		fmt.Fprintf(out, "Workers of [%s]:\n", plugin)
		t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "PID\tSTATUS\tEXECS\tMEMORY\tCPU%\tCREATED")
		for _, w := range list.Workers {
			fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%.2f\t%s ago\n", w.PID, w.Status, w.NumExecs, bytesize.Size(w.MemoryUsage), w.CPUPercent,
				time.Since(time.Unix(0, w.Created)).Round(time.Second))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

const pidFile = ".pid"

func rrStop(f *rrFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the server whose .pid file is here; with -f, at once",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := f.dir()
			if err != nil {
				return err
			}
			path := filepath.Join(dir, pidFile)
			text, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("%w: to have a .pid file, start with rr serve -p", err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || pid < 1 {
				return fmt.Errorf("%s: %q is not the id of a process", path, shorten(string(text)))
			}
			if !f.silent {
				fmt.Fprintf(cmd.OutOrStdout(), "stopping process with PID: %d\n", pid)
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				return fmt.Errorf("stop process %d, which %s names: %w", pid, path, err)
			}
			if !f.force {
				return nil
			}
			time.Sleep(time.Second) // two at once can arrive as one
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop process %d at once: %w", pid, err)
			}
			return nil
		},
	}
}

func shorten(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

func rrJobs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "Not there yet: Edge has no job queues",
		RunE: func(*cobra.Command, []string) error {
			return errors.New("Edge has no job queues yet: there are no pipelines to list, pause, resume or destroy")
		},
	}
	for _, name := range []string{"list", "pause", "resume", "destroy"} {
		cmd.Flags().Bool(name, false, "not there yet")
	}
	return cmd
}
