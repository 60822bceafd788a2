package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/pluginkit"
)

func pluginList(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the plugins of the running server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			plugins, err := c.Plugins(cmd.Context())
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tGENERATION\tINSTANCES\tREQUESTS\tCALLS\tERRORS\tP50\tP99\tFUEL\tMEMORY\tNOTE\tFILE")
			for _, p := range plugins {
				fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%s\t%s\t%s\n", p.Name, p.Generation, instances(p), p.Requests, p.Calls, p.Errors,
					span(p.P50), span(p.P99), p.Fuel, pluginkit.Size(p.Memory), firstLine(pluginNote(p)), p.File)
			}
			return t.Flush()
		},
	}
}

// instances are those of the content that serves, and behind a plus those that end with the last requests of older ones.
func instances(p admin.Plugin) string {
	if p.Draining == 0 {
		return strconv.Itoa(p.Instances)
	}
	return fmt.Sprintf("%d+%d", p.Instances, p.Draining)
}

// span is a time in the guest; too few requests were timed for those that have none.
func span(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.String()
}

// firstLine is what fits into a table: the stack of a script's error is in the log.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.ReplaceAll(line, "\t", " ")
}

// pluginNote is the most important that there is to say.
func pluginNote(p admin.Plugin) string {
	switch {
	case p.Degraded != "":
		return p.Degraded
	case p.Bypassed != "":
		return p.Bypassed
	case p.LastError != "":
		return fmt.Sprintf("last error %s ago: %s", max(time.Since(p.LastErrorAt).Round(time.Second), 0), p.LastError)
	}
	return ""
}
