package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/internal/bytesize"
)

func servicesCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "services",
		Short: "List the programs that run beside the running server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			services, err := c.Services(cmd.Context())
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "SERVICE\tPID\tAGE\tMEMORY\tRESTARTS\tCOMMAND")
			for _, s := range services {
				for _, p := range s.Processes {
					if p.PID == 0 {
						fmt.Fprintf(t, "%s\t-\t-\t-\t%d\t%s (%s)\n", s.Name, s.Restarts, s.Command, p.Problem)
						continue
					}
					fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d\t%s\n", s.Name, p.PID, p.Age.Round(time.Second), bytesize.Size(p.Memory), s.Restarts, s.Command)
				}
			}
			return t.Flush()
		},
	}
}

func drainCommand(config *string) *cobra.Command {
	var undo bool
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Tell load balancers that the running server is not ready; it serves on",
		Long: `Tell load balancers that the running server is not ready; it serves on.

/ready of the admin API and of telemetry.health answers 503 until "edge drain --undo".
Wait until the balancer sends nothing any more ("edge top"), then stop the server.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err == nil {
				err = c.Drain(cmd.Context(), !undo)
			}
			if err != nil {
				return err
			}
			text := "drains: checks for readiness fail, requests are served; edge drain --undo ends it"
			if undo {
				text = "ready again"
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "be ready again")
	return cmd
}

func configCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the configuration that is in force, without secrets, as JSON",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			text, err := c.Config(cmd.Context())
			if err != nil {
				return err
			}
			var out bytes.Buffer
			if err := json.Indent(&out, text, "", "  "); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), out.String())
			return nil
		},
	}
}
