package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/pluginkit"
)

func pluginKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "Make a key to sign plugins with",
		Long: `Make a key to sign plugins with. The private key goes into FILE (edge-plugin.key), which must not exist, for your eyes only;
the public one is printed, for plugins.trust of edge.yaml.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "edge-plugin.key"
			if len(args) == 1 {
				file = args[0]
			}
			public, err := pluginkit.Keygen(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "The private key is in %s. In edge.yaml: plugins: {trust: [\"%s\"]}\n", file, public)
			fmt.Fprintln(cmd.OutOrStdout(), public)
			return nil
		},
	}
}

func pluginSign() *cobra.Command {
	var key, name string
	var anyName bool
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a plugin: writes FILE.sig",
		Args:  oneArgument("FILE", "the built plugin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case anyName && name != "":
				return errors.New("--any-name and --name contradict each other")
			case name == "" && !anyName:
				name = baseName(args[0])
			}
			signature, err := pluginkit.Sign(args[0], key, name)
			if err != nil {
				return err
			}
			whom := "a plugin called " + name
			if anyName {
				whom = "a plugin of any name"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: good for %s\n", signature, whom)
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "key", "edge-plugin.key", "`file` with the private key, of edge plugin keygen")
	cmd.Flags().StringVar(&name, "name", "", "the plugin's name in edge.yaml (default that of the file)")
	cmd.Flags().BoolVar(&anyName, "any-name", false, "let it be used under any name")
	return cmd
}

func pluginVerify(config *string) *cobra.Command {
	var keys []string
	var name string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check the signature of a plugin, with keys or with plugins.trust of edge.yaml",
		Args:  oneArgument("FILE", "the built plugin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(keys) == 0 {
				cfg, err := core.Load(*config, os.Environ())
				if err != nil {
					return fmt.Errorf("no key is named with --key ed25519:…, and plugins.trust of %s cannot be read: %s", *config, err.Error()) // as text: a file that is missing is not what is wrong
				}
				if cfg.Plugins != nil {
					keys = cfg.Plugins.Trust
				}
				if len(keys) == 0 {
					return fmt.Errorf("%s trusts no key: write it into plugins.trust, or name it with --key ed25519:…", *config)
				}
			}
			if name == "" {
				name = baseName(args[0])
			}
			if err := pluginkit.Verify(args[0], name, keys); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is signed\n", args[0])
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "a public `key` (ed25519:…), repeated; default plugins.trust")
	cmd.Flags().StringVar(&name, "name", "", "the plugin's name in edge.yaml (default that of the file)")
	return cmd
}

func baseName(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}
