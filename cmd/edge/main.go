// Command edge serves PHP applications and extends itself with WebAssembly. See `edge help`.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run is the whole program, with what tests want to hold in their hands. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "edge",
		Short:         "Serve PHP applications and wasm plugins over HTTP/1, 2 and 3",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	config := root.PersistentFlags().StringP("config", "c", "edge.yaml", "configuration file")
	root.AddCommand(
		serveCommand(config),
		checkCommand(config),
		statusCommand(config),
		reloadCommand(config),
		workersCommand(config),
		pluginCommand(config),
		trustCommand(config),
		versionCommand(),
	)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "edge: %v\n", err)
		return 1
	}
	return 0
}
