// Command edge serves PHP applications and extends itself with WebAssembly. See `edge help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
)

func main() {
	if calledAsRR(os.Args[0]) {
		os.Exit(runRR(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program, with what tests want to hold in their hands. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "rr" {
		return runRR(ctx, args[1:], stdout, stderr)
	}
	root := &cobra.Command{
		Use:           "edge",
		Short:         "Serve PHP applications and wasm plugins over HTTP/1, 2 and 3",
		Version:       core.VersionDetail(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	config := root.PersistentFlags().StringP("config", "c", "edge.yaml", "configuration `file`")
	root.AddCommand(
		serveCommand(config),
		checkCommand(config),
		routesCommand(config),
		statusCommand(config),
		reloadCommand(config),
		upgradeCommand(config),
		workersCommand(config),
		servicesCommand(config),
		drainCommand(config),
		configCommand(config),
		topCommand(config),
		uiCommand(config),
		pluginCommand(config),
		kvCommand(config),
		wsCommand(config),
		cacheCommand(config),
		sdkCommand(),
		trustCommand(config),
		passwdCommand(),
		phpServerCommand(),
		migrateCommand(),
		schemaCommand(),
		manCommand(),
		rrStub(),
		versionCommand(),
	)
	arrange(root)
	refuseUnknown(root)
	if err := completeArguments(root, config); err != nil {
		fmt.Fprintf(stderr, "edge: %v\n", err)
		return 1
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if isMissing(err, *config) {
		err = fmt.Errorf("there is no %s: run edge in the folder of your edge.yaml, or name another with -c", *config)
	}
	if err != nil {
		fmt.Fprintf(stderr, "edge: %v\n", err)
		var coded exitError
		if errors.As(err, &coded) {
			return coded.code
		}
		return 1
	}
	return 0
}

// isMissing reports whether err says that there is no file at path.
func isMissing(err error, path string) bool {
	var of *fs.PathError
	if !errors.As(err, &of) || !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	missing, _ := filepath.Abs(of.Path)
	wanted, _ := filepath.Abs(path)
	return missing == wanted
}
