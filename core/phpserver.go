package core

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/php"
)

// PHPServer is a PHP application served without an edge.yaml.
type PHPServer struct {
	Dir      string // of the application; when it has public/index.php the web sees public
	Listen   string // host:port
	HTTPS    bool   // with the certificate of the local CA
	Worker   string // a worker script; empty: classic mode
	FastCGI  string // address of a server that runs already; empty: Edge starts php-cgi or php-fpm
	User     string // of PHP, as root
	StateDir string
}

// Config is what an edge.yaml for the application would say.
func (s PHPServer) Config() (*Config, error) {
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, err
	}
	app := php.DefaultConfig()
	app.Root, app.Dir, app.User = root, dir, s.User
	app.Workers = php.Workers{Min: 2, Max: max(8, 2*runtime.GOMAXPROCS(0)), Spare: 2}
	switch {
	case s.Worker != "" && s.FastCGI != "":
		return nil, errors.New("--worker and --fastcgi exclude each other: a FastCGI server runs no worker scripts")
	case s.Worker != "":
		script, err := filepath.Abs(s.Worker)
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(script); err != nil || info.IsDir() {
			return nil, fmt.Errorf("--worker %s: there is no file %s: name the worker script, as seen from the folder you are in", s.Worker, script)
		}
		app.Command = php.Command{"php", script}
	default:
		app.Mode, app.FastCGI = "classic", s.FastCGI
	}

	http := HTTPConfig{}.Defaults().(HTTPConfig)
	http.Listen = []httpserver.Listen{{Address: s.Listen, TLS: s.HTTPS, H2C: true}}
	http.Middleware = []string{"access-log"}
	http.Routes = []Route{{Name: "app", PHP: "app"}}
	cfg := DefaultConfig()
	cfg.StateDir = s.StateDir
	cfg.Log.Format = "console" // somebody looks at it
	cfg.HTTP = &http
	cfg.PHP = map[string]php.Config{"app": app}
	return &cfg, cfg.Validate()
}

// root is the folder that the web sees.
func (s PHPServer) root() (string, error) {
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is a file: name the folder of the application", dir)
	}
	public := filepath.Join(dir, "public")
	for _, candidate := range []string{public, dir} {
		if info, err := os.Stat(filepath.Join(candidate, "index.php")); err == nil && info.Mode().IsRegular() {
			return candidate, nil
		}
	}
	if s.Worker == "" {
		if scripts, _ := filepath.Glob(filepath.Join(dir, "*.php")); len(scripts) == 0 {
			if _, err := os.Stat(filepath.Join(dir, "index.html")); err != nil {
				return "", fmt.Errorf("%s has neither public/index.php nor index.php, nor any other script: name the folder of a PHP application", dir)
			}
		}
	} else if info, err := os.Stat(public); err == nil && info.IsDir() {
		return public, nil
	}
	return dir, nil
}
