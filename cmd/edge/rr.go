package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/rrcompat"
)

// calledAsRR reports whether the program was called under RoadRunner's name: by a link, or a copy of it.
func calledAsRR(program string) bool {
	return strings.TrimSuffix(filepath.Base(program), ".exe") == "rr"
}

// rrStub is for the list of commands; run hands everything behind the word rr to runRR.
func rrStub() *cobra.Command {
	return &cobra.Command{
		Use:   "rr",
		Short: "Be RoadRunner: read .rr.yaml, answer as its binary does",
		Long: `Be RoadRunner: read .rr.yaml, answer as its binary does.

"edge rr serve", "edge rr workers", "edge rr reset" and the like take the flags of rr;
"edge rr --help" lists them. A link to edge with the name rr does the same. What
becomes of every key of .rr.yaml is in docs/roadrunner.md; "edge migrate" writes the
edge.yaml that means the same.`,
		DisableFlagParsing: true,
		Run:                func(*cobra.Command, []string) {},
	}
}

// rrFlags are the global flags of RoadRunner's binary.
type rrFlags struct {
	config       string
	workDir      string
	dotenv       string
	overrides    []string
	debug        bool
	silent       bool
	pid          bool
	force        bool
	experimental bool

	cwd string // where the program was started: a server asks again, and by then a deploy link may have moved
}

// runRR is the whole program under the name rr. It returns the exit code.
func runRR(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := &rrFlags{}
	root := &cobra.Command{
		Use:           "rr",
		Short:         "RoadRunner's commands, answered by Edge",
		Version:       rrVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&f.config, "config", "c", ".rr.yaml", "configuration file, YAML or JSON; it may be empty")
	flags.StringVarP(&f.workDir, "WorkDir", "w", "", "working directory (default: that of the configuration file)")
	flags.StringVar(&f.dotenv, "dotenv", "", "file with environment variables [$DOTENV_PATH]")
	flags.StringArrayVarP(&f.overrides, "override", "o", nil, "override a value of the configuration: dotted.key=value")
	flags.BoolVarP(&f.debug, "debug", "d", false, "serve profiles on 127.0.0.1:6061/debug/pprof/")
	flags.BoolVarP(&f.silent, "silent", "s", false, "say nothing about the start")
	flags.BoolVarP(&f.pid, "pid", "p", false, "write a .pid file into the working directory")
	flags.BoolVarP(&f.force, "force", "f", false, "stop: do not wait for requests in flight")
	flags.BoolVarP(&f.experimental, "enable-experimental", "e", false, "accepted; what is experimental in RoadRunner needs no flag here")
	root.AddCommand(rrServe(f), rrReset(f), rrWorkers(f), rrStop(f), rrJobs())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "rr: %v\n", err)
		return 1
	}
	return 0
}

// rrVersion follows "rr version ": tools look for the number, and compare it.
func rrVersion() string {
	return fmt.Sprintf("%s (build time: %s, %s), OS: %s, arch: %s", core.RoadRunnerVersion, buildTime(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildTime is the time of the commit the program was built from.
func buildTime() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				return s.Value
			}
		}
	}
	return "development"
}

// dir is where relative paths begin, and where .pid is: the working directory that RoadRunner would change to.
func (f *rrFlags) dir() (string, error) {
	if f.workDir != "" {
		return f.abs(f.workDir)
	}
	return f.abs(filepath.Dir(f.config))
}

// abs is a path from where the program was started.
func (f *rrFlags) abs(path string) (_ string, err error) {
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	if f.cwd == "" {
		if f.cwd, err = os.Getwd(); err != nil {
			return "", err
		}
	}
	return filepath.Join(f.cwd, path), nil
}

// load reads the configuration. Without a file the overrides are all there is, and then there must be some.
func (f *rrFlags) load() (*rrcompat.Config, error) {
	dir, err := f.dir()
	if err != nil {
		return nil, err
	}
	if err := f.readDotenv(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, f.config)
	if f.workDir == "" || filepath.IsAbs(f.config) {
		if path, err = f.abs(f.config); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && len(f.overrides) > 0 {
		text, err = nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: run rr in its folder, name another with -c, or give what is needed with -o", f.config)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return rrcompat.Parse(rrcompat.Source{
		Name: f.config, Text: text, Overrides: f.overrides, Lookup: os.LookupEnv,
		Include: func(name string) ([]byte, error) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(dir, name)
			}
			return os.ReadFile(name)
		},
	})
}

// readDotenv puts the variables of the file into the environment, which workers inherit; those that are there stay.
func (f *rrFlags) readDotenv(dir string) error {
	path := f.dotenv
	if v, ok := os.LookupEnv("DOTENV_PATH"); ok {
		path = v
	}
	if path == "" {
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read dotenv: %w", err)
	}
	pairs, err := rrcompat.ParseDotenv(path, text, os.LookupEnv)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		if _, set := os.LookupEnv(pair[0]); set {
			continue
		}
		if err := os.Setenv(pair[0], pair[1]); err != nil {
			return fmt.Errorf("%s: %s: %w", path, pair[0], err)
		}
	}
	return nil
}
