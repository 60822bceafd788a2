package php

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/edge-server/edge/internal/osproc"
)

// spec is how the workers of one generation are started. It never changes; a reload makes a new one, so that a deploy link
// that was moved and a program that was replaced are seen then and only then.
type spec struct {
	path string   // of the program
	args []string // with the program's name
	dir  string   // without symlinks
	env  []string
	user *osproc.Account

	speaks dialect // how the script reads requests, unless its workers say so themselves

	classic *classic // nil in worker mode

	fence atomic.Int32 // whether the script answers a second greeting: see fence.go
}

// newSpec resolves what the configuration names and checks that the workers will be able to read it.
func (p *Pool) newSpec() (*spec, error) {
	if p.cfg.Mode == modeClassic {
		return p.newClassicSpec()
	}
	dir, err := filepath.Abs(p.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	program, err := osproc.FindProgram(p.cfg.Command[0], dir, phpHint)
	if err != nil {
		return nil, err
	}
	s := &spec{path: program, args: p.cfg.Command, dir: dir, user: p.user, env: p.environment()}
	s.speaks = dialectOf(s, p.cfg.Codec)
	if p.user == nil {
		return s, checkScript(s)
	}
	if err := p.user.As(func() error { return checkScript(s) }); err != nil {
		return nil, err
	}
	return s, nil
}

// environment is Edge's own environment, then what the server adds, then the pool's: of a name given twice the last counts.
func (p *Pool) environment() []string {
	env := append(os.Environ(), p.opts.Env...)
	env = append(env, p.user.Environ()...)
	for name, value := range p.cfg.Env {
		env = append(env, name+"="+value)
	}
	if p.cfg.Mode == "classic" {
		return env // RR_MODE would tell libraries that a worker's loop is to be run
	}
	return append(env, "RR_MODE=http")
}

// phpHint is what to do when there is no such program.
const phpHint = "install it (apt-get install php-cli)"

// checkScript finds out before the start, and with a clear message, that the workers could not read their folder or script.
func checkScript(s *spec) error {
	if err := reachable(s.dir, s.user); err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	script := scriptOf(s)
	if script == "" {
		return nil
	}
	if err := reachable(filepath.Dir(script), s.user); err != nil {
		return fmt.Errorf("command: %w", err)
	}
	file, err := os.Open(script)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("command: %s cannot read the script %s: chmod or chown it, or set user", s.user, script)
	}
	if err != nil {
		return fmt.Errorf("command: %w", err)
	}
	return file.Close()
}

// scriptOf is the first argument that is a file, or has to be one by its name.
func scriptOf(s *spec) string {
	for _, arg := range s.args[1:] {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		path := arg
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.dir, path)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(arg, ".php") {
			return path
		}
	}
	return ""
}

// reachable names the first folder on the way to dir that cannot be entered.
func reachable(dir string, user *osproc.Account) error {
	if parent := filepath.Dir(dir); parent != dir {
		if err := reachable(parent, user); err != nil {
			return err
		}
	}
	// Looking up "." needs the right to enter the folder, which is what a worker needs on the way to its files.
	_, err := os.Stat(dir + string(filepath.Separator) + ".")
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s cannot enter the folder %s: chmod o+x %s, move the application, or set user", user, dir, dir)
	}
	return err
}
