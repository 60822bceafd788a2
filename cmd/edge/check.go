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
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := core.Load(*config, os.Environ())
			if err != nil {
				return err
			}
			if err := core.Check(cmd.Context(), cfg, cmd.ErrOrStderr()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is sound: %d routes, %d PHP pools, %d stores\n", *config, cfg.Routes(), len(cfg.PHP), len(cfg.KV))
			return nil
		},
	}
}
