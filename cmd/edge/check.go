package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
)

func checkCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check edge.yaml, plugins and certificates without serving",
		Long: `Check edge.yaml, plugins and certificates without serving.

All mistakes are listed at once, with file and line; the exit code is then 1. Nothing
listens, and a server that runs with the same file is left alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := core.Load(*config, os.Environ())
			if err != nil {
				return err
			}
			if err := core.Check(cmd.Context(), cfg, core.Options{ConfigPath: *config, Environ: os.Environ(), LogOutput: cmd.ErrOrStderr()}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is sound: %d routes, %d PHP pools, %d stores\n", *config, cfg.Routes(), len(cfg.PHP), len(cfg.KV))
			return nil
		},
	}
}
