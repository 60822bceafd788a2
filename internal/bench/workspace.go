package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/template"
)

// workersAccount runs nginx, php-fpm and Edge's PHP workers when bench runs as root.
const workersAccount = "www-data"

// workspace is the temporary folder of one run. The templates of the configuration files see its exported fields.
type workspace struct {
	Dir         string
	User, Group string // empty unless bench runs as root
	root        string // the checkout
	php         string // copy of internal/bench/php that the workers' account can read
	scenarios   []scenario
	tool        map[string]string // path by key of tools
	scripts     map[string]string // of wrk, by scenario
}

func newWorkspace(scenarios []scenario) (*workspace, error) {
	root, err := findCheckout()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "edge-bench")
	if err != nil {
		return nil, err
	}
	space := &workspace{Dir: dir, root: root, scenarios: scenarios, tool: map[string]string{}, scripts: map[string]string{}}
	if err := space.populate(); err != nil {
		return nil, errors.Join(err, space.remove())
	}
	return space, nil
}

func (w *workspace) path(name string) string { return filepath.Join(w.Dir, name) }

// populate copies the PHP code, keeping its place in the tree: the checkout may lie where www-data cannot look.
func (w *workspace) populate() error {
	if os.Geteuid() == 0 {
		account, err := user.Lookup(workersAccount)
		if err != nil {
			return fmt.Errorf("bench runs as root and its servers need an account: %w; add it with: useradd --system %s", err, workersAccount)
		}
		group, err := user.LookupGroupId(account.Gid)
		if err != nil {
			return err
		}
		w.User, w.Group = account.Username, group.Name
	}
	if err := os.Chmod(w.Dir, 0o755); err != nil {
		return err
	}
	for _, part := range []string{filepath.Join("internal", "bench", "php"), filepath.Join("sdk", "php")} {
		err := copyPHP(filepath.Join(w.root, part), filepath.Join(w.Dir, part))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy %s: %w", part, err)
		}
	}
	w.php = filepath.Join(w.Dir, "internal", "bench", "php")
	return errors.Join(w.install(), w.writeScripts())
}

// writeScripts writes the scripts of wrk, and the bodies that they send.
func (w *workspace) writeScripts() error {
	for _, s := range w.scenarios {
		if s.Post == nil {
			continue
		}
		body, script := w.path(s.Name+".body"), w.path(s.Name+".lua")
		if err := errors.Join(os.WriteFile(body, s.Post, 0o644), os.WriteFile(script, []byte(postScript(body)), 0o644)); err != nil {
			return err
		}
		w.scripts[s.Name] = script
	}
	return nil
}

// render writes a configuration file from its template and returns its path.
func (w *workspace) render(name, text string, data any) (string, error) {
	parsed, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := parsed.Execute(&b, data); err != nil {
		return "", err
	}
	return w.path(name), os.WriteFile(w.path(name), []byte(b.String()), 0o644)
}

func (w *workspace) remove() error { return os.RemoveAll(w.Dir) }

// copyPHP copies the .php files of a folder, readable by everyone.
func copyPHP(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case entry.Type().IsRegular() && filepath.Ext(path) == ".php":
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, content, 0o644)
		}
		return nil
	})
}

// findCheckout returns the folder of go.mod at or above the current one.
func findCheckout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above: run bench inside the checkout")
		}
		dir = parent
	}
}
