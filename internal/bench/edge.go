package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed conf/edge.yaml.tmpl
var edgeTemplate string

// edgeBinaryName is the file in the workspace that cmd/edge is built to.
const edgeBinaryName = "edge"

// edgeVariant is Edge with some of its parts on a request's way.
type edgeVariant struct {
	name, about string
	php         bool
	guest       *guest // the wasm middleware; nil for none
}

func (v edgeVariant) target() target {
	needs := []string{"go"}
	if v.php {
		needs = append(needs, "php")
	}
	if v.guest != nil {
		needs = append(needs, v.guest.tools...)
	}
	return target{Name: v.name, About: v.about, Tools: needs, Launch: v.launch}
}

// launch starts `edge serve` on a configuration of its own; each variant is a process of its own.
func (v edgeVariant) launch(ctx context.Context, space *workspace, srv *server) error {
	binary, err := space.edgeBinary(ctx)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	srv.base = "http://" + address
	data := edgeData{
		workspace: space, Address: address, StateDir: space.path(v.name + ".state"),
		Worker: filepath.Join(space.php, "worker.php"), Workers: phpWorkers,
	}
	if v.php {
		data.PHP = space.tool["php"]
	}
	if v.guest != nil {
		if data.Module, err = v.guest.build(ctx, space); err != nil {
			return fmt.Errorf("build the guest %s: %w", v.guest.name, err)
		}
		data.Guest, srv.proof = v.guest.name, v.guest.proof
	}
	config, err := space.render(v.name+".yaml", edgeTemplate, data)
	if err != nil {
		return err
	}
	return srv.run(space, "server", binary, "serve", "-c", config)
}

// edgeData is what conf/edge.yaml.tmpl sees.
type edgeData struct {
	*workspace
	Address, StateDir string
	PHP, Worker       string // no PHP: fixed answers
	Workers           int
	Guest, Module     string // no Guest: no wasm
}

// Answers are the bodies that the variant without PHP is configured with.
func (d edgeData) Answers() []edgeAnswer {
	var list []edgeAnswer
	for _, s := range d.scenarios {
		contentType, body := s.Answer()
		list = append(list, edgeAnswer{s.Path(), contentType, string(body)})
	}
	return list
}

type edgeAnswer struct{ Path, Type, Body string }

// Quote writes a text as YAML, of which JSON is a subset.
func (edgeData) Quote(text string) (string, error) {
	quoted, err := json.Marshal(text)
	return string(quoted), err
}

// edgeBinary builds cmd/edge once per run, as `make build` does.
func (w *workspace) edgeBinary(ctx context.Context) (string, error) {
	return w.buildOnce(edgeBinaryName, func(out string) *exec.Cmd {
		return exec.CommandContext(ctx, w.tool["go"], "build", "-trimpath", "-o", out, "./cmd/edge")
	})
}

// buildOnce runs a compiler in the checkout unless its output is there already. The error is what the compiler says.
func (w *workspace) buildOnce(name string, command func(out string) *exec.Cmd) (string, error) {
	out := w.path(name)
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	cmd := command(out)
	cmd.Dir = w.root
	if message, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd.Args[0], err, message)
	}
	return out, nil
}
