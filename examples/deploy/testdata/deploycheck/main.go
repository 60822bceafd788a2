// Command deploycheck reads container files with the parsers that the container engines have, and prints what they understood as JSON:
//
//	deploycheck Dockerfile…          the stages of each, with their instructions; what BuildKit's linter complains about is an error
//	deploycheck docker-compose.yml   the services, with every default filled in; the schema is checked
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "deploycheck:", err)
		os.Exit(1)
	}
}

func run(files []string) error {
	out := map[string]any{}
	for _, file := range files {
		parse := dockerfile
		if ext := filepath.Ext(file); ext == ".yml" || ext == ".yaml" {
			parse = compose
		}
		understood, err := parse(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		out[filepath.Base(file)] = understood
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// stage is what follows a FROM.
type stage struct {
	Name, Base string
	Commands   []command
}

// command is an instruction: its name, and itself as it was written.
type command struct{ Name, Source string }

func dockerfile(path string) (any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, w := range result.Warnings {
		errs = append(errs, errors.New(w.Short))
	}
	complain := func(rule, description, url, format string, location []parser.Range) {
		errs = append(errs, fmt.Errorf("%v: %s: %s", location, rule, format))
	}
	stages, _, err := instructions.Parse(result.AST, linter.New(&linter.Config{Warn: complain}))
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	var out []stage
	for _, s := range stages {
		read := stage{Name: s.Name, Base: s.BaseName}
		for _, c := range s.Commands {
			read.Commands = append(read.Commands, command{strings.ToUpper(c.Name()), fmt.Sprint(c)})
		}
		out = append(out, read)
	}
	return out, nil
}

func compose(path string) (any, error) {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithOsEnv, cli.WithResolvedPaths(true), cli.WithName("edge"))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}
