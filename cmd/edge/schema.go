package main

import (
	"github.com/spf13/cobra"

	"github.com/edge-server/edge/docs"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of edge.yaml, by which editors complete and check it",
		Long: `Print the JSON schema of edge.yaml, by which editors complete and check it.

Write it beside edge.yaml and name it in the first line of edge.yaml. Editors with
a YAML language server (VS Code with the YAML extension, Neovim, Helix, Zed, and
those of JetBrains) then know every key, its default and what it does.`,
		Example: `  edge schema > edge.schema.json
  sed -i '1i # yaml-language-server: $schema=edge.schema.json' edge.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(docs.Schema())
			return err
		},
	}
}
