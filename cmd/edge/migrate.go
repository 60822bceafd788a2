package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/rrcompat"
)

func migrateCommand() *cobra.Command {
	f := &rrFlags{}
	cmd := &cobra.Command{
		Use:   "migrate [.rr.yaml]",
		Short: "Print the edge.yaml that means what a .rr.yaml of RoadRunner means",
		Long: `Print the edge.yaml that means what a .rr.yaml of RoadRunner means.

Variables stay variables. What has no counterpart is named in comments at the top, and counted on standard error.

  edge migrate .rr.yaml > edge.yaml && edge check`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.config = ".rr.yaml"
			if len(args) > 0 {
				f.config = args[0]
			}
			if err := migrate(cmd, f); err != nil {
				return errors.New(err.Error()) // a missing file is not the edge.yaml that run would think of
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&f.overrides, "override", "o", nil, "a value that was given to rr on the command line: dotted.key=value")
	return cmd
}

func migrate(cmd *cobra.Command, f *rrFlags) error {
	dir, err := f.dir()
	if err != nil {
		return err
	}
	config, err := f.load()
	if err != nil {
		return err
	}
	result, err := config.Translate(rrcompat.Options{KeepVariables: true, CPUs: runtime.GOMAXPROCS(0)})
	if err != nil {
		return err
	}
	if _, err := cmd.OutOrStdout().Write(result.EdgeYAML); err != nil {
		return err
	}
	lost := 0
	for _, finding := range result.Findings {
		if finding.Warning {
			lost++
		}
	}
	if lost > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "edge: %d settings have no counterpart; the comments at the top name them\n", lost)
	}
	if _, err := core.LoadText("edge.yaml", result.EdgeYAML, dir, os.Environ()); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "edge: with the variables of this shell, edge check would say: %v\n", err)
	}
	return nil
}
