package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	worker      string // the script in the php folder; "" for fixed answers
	classic     bool   // the front controller under php-cgi instead
	guest       *guest // the wasm middleware; nil for none
}

// plainWorker is the script with nothing but sdk/php.
const plainWorker = "worker.php"

func (v edgeVariant) target() target {
	needs := []string{"go"}
	if v.worker != "" {
		needs = append(needs, "php")
	}
	if v.classic {
		needs = append(needs, "php-cgi")
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
	data := edgeData{workspace: space, Address: address, StateDir: space.path(srv.title() + ".state"), Workers: phpWorkers}
	switch {
	case v.classic:
		data.setClassic(srv.app)
	case v.worker != "":
		data.setWorker(v.worker, srv.app)
	}
	if v.guest != nil {
		if data.Module, err = v.guest.build(ctx, space); err != nil {
			return fmt.Errorf("build the guest %s: %w", v.guest.name, err)
		}
		data.Guest, srv.proof = v.guest.name, v.guest.proof
	}
	config, err := space.render(srv.title()+".yaml", edgeTemplate, data)
	if err != nil {
		return err
	}
	return srv.run(space, "server", binary, "serve", "-c", config)
}

// edgeData is what conf/edge.yaml.tmpl sees.
type edgeData struct {
	*workspace
	Address, StateDir string
	Command           []string // of a worker; none: fixed answers
	Env               map[string]string
	WorkDir           string // of a worker; "" is Edge's own
	Root              string // classic mode: the folder of the front controller
	Workers           int
	Guest, Module     string // no Guest: no wasm
}

// setWorker says what a worker runs. Opcache does for it what it does for php-fpm.
func (d *edgeData) setWorker(script string, a app) {
	path := filepath.Join(d.php, script)
	if a.name != "" {
		d.WorkDir = d.appDir(a.name)
		path = filepath.Join(d.WorkDir, a.worker)
	}
	d.Command = append(append([]string{d.tool["php"]}, opcacheSettings...), path)
	d.Env = maps.Clone(a.env)
	maps.Copy(d.Env, a.workerEnv)
}

// setClassic says where the front controller is.
func (d *edgeData) setClassic(a app) {
	d.Command, d.Root, d.Env = append([]string{d.tool["php-cgi"]}, opcacheSettings...), d.php, a.env
	if a.name != "" {
		d.Root = filepath.Join(d.appDir(a.name), "public")
	}
}

// Answers are the bodies that the variant without PHP is configured with.
func (d edgeData) Answers() []edgeAnswer {
	var list []edgeAnswer
	for _, s := range d.scenarios {
		if !s.servedBy(edgeRespond) {
			continue
		}
		contentType, body := s.Answer(s.Post)
		list = append(list, edgeAnswer{s.Path(), contentType, string(body)})
	}
	return list
}

type edgeAnswer struct{ Path, Type, Body string }

// Quote writes a text, a list or a map as YAML, of which JSON is a subset.
func (edgeData) Quote(value any) (string, error) {
	quoted, err := json.Marshal(value)
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
