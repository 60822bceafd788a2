package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/internal/bytesize"
)

// client finds the running server of this edge.yaml.
func client(config string) (*admin.Client, error) {
	cfg, err := core.Load(config, os.Environ())
	if err != nil {
		return nil, err
	}
	return admin.NewClient(cfg.Admin, cfg.StateDir)
}

func statusCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show version, addresses and health of the running server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			state := "ready"
			if !s.Ready {
				state = "not ready (starting, stopping or draining)"
			}
			fmt.Fprintf(out, "edge %s, pid %d, %s, up %s\nconfig %s\n", s.Version, s.PID, state, time.Since(s.Started).Round(time.Second), s.Config)
			for _, a := range s.Addresses {
				fmt.Fprintln(out, "serves", a)
			}
			for _, d := range s.Degraded {
				fmt.Fprintln(out, "degraded:", d)
			}
			return nil
		},
	}
}

func reloadCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Apply edge.yaml, new PHP code and new plugins without losing a request",
		Long: `Apply edge.yaml, new PHP code and new plugins without losing a request.

Everything is prepared first: workers boot, plugins compile. What fails leaves the
server as it was, and this command says why. Connections, WebSockets too, stay open.
What only a restart can change, such as listeners, is refused by name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			if err := c.Reload(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
			return nil
		},
	}
}

func workersCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "workers",
		Short: "List the PHP workers of the running server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			pools, err := c.Workers(cmd.Context())
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "POOL\tPID\tSTATE\tREQUESTS\tAGE\tMEMORY")
			for _, pool := range pools {
				for _, w := range pool.Workers {
					fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\t%s\n", pool.Name, w.PID, w.State, w.Requests,
						w.Age.Round(time.Second), bytesize.Size(w.Memory))
				}
			}
			return t.Flush()
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "edge", core.VersionDetail()) },
	}
}
