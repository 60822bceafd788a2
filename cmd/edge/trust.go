package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/core/httpserver/localca"
)

func trustCommand(config *string) *cobra.Command {
	var uninstall bool
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Let this machine trust the certificate of https://localhost",
		Long: `Install the local CA, which Edge keeps in state_dir/ca, into the trust store of this machine. Edge never does so by itself.

The CA's key does not leave state_dir. --uninstall takes the CA out again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := core.Load(*config, os.Environ())
			if err != nil {
				return err
			}
			open, act := localca.Open, (*localca.CA).Install
			if uninstall {
				open, act = localca.Load, (*localca.CA).Uninstall // do not make a CA only to take it out
			}
			dir := httpserver.CADir(cfg.StateDir)
			ca, err := open(dir)
			if uninstall && errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintf(cmd.OutOrStdout(), "There is no local CA in %s: nothing to take out.\n", dir)
				return nil
			}
			if err != nil {
				return err
			}
			report, err := act(ca, cmd.Context(), localca.ThisSystem())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			for _, step := range report.Steps {
				fmt.Fprintln(out, step)
			}
			if !uninstall {
				fmt.Fprintln(out, localca.Note)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&uninstall, "uninstall", false, "take the CA out of the trust store")
	return cmd
}
