package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/edge-server/edge/internal/exampleapp"
)

// app is an application in PHP: what runs it in a worker of Edge and under php-fpm. Both get the same opcache settings.
type app struct {
	name      string            // a folder of examples; "" is the code of this folder
	worker    string            // below the application; "" is what the target says
	workerEnv map[string]string // beside env
	env       map[string]string
	deploy    [][]string // commands for PHP, in the application's folder
}

// apps by the App of a scenario.
var apps = []app{
	{},
	{
		name:      "symfony",
		worker:    "public/index.php",
		workerEnv: map[string]string{"APP_RUNTIME": `Edge\Symfony\Runtime`},
		env:       map[string]string{"APP_ENV": "prod", "APP_DEBUG": "0"},
	},
	{
		name:   "laravel",
		worker: "vendor/bin/edge-laravel",
		// What a deployment does; under php-fpm it saves most of what a request costs before it reaches the application.
		deploy: [][]string{{"artisan", "config:cache"}, {"artisan", "route:cache"}},
	},
}

// install puts the applications of the scenarios into the workspace, with the frameworks as Debian packages them.
func (w *workspace) install() error {
	needed := slices.DeleteFunc(slices.Clone(apps), func(a app) bool {
		return a.name == "" || !slices.ContainsFunc(w.scenarios, func(s scenario) bool { return s.App == a.name })
	})
	if len(needed) == 0 {
		return nil
	}
	// The installation refers to where it copies from, and the checkout may lie where the workers' account cannot look.
	folders := []string{filepath.Join("examples", "testdata"), filepath.Join("sdk", "php", "bin")}
	for _, a := range needed {
		if exampleapp.Missing(a.name) {
			return fmt.Errorf("the framework of the scenario %s is missing: %s; or choose others with -scenario", a.name, exampleapp.Packages[a.name])
		}
		folders = append(folders, filepath.Join("examples", a.name))
	}
	for _, folder := range folders {
		if err := os.CopyFS(w.path(folder), os.DirFS(filepath.Join(w.root, folder))); err != nil {
			return err
		}
	}
	for _, a := range needed {
		if err := w.installApp(a); err != nil {
			return err
		}
	}
	return nil
}

func (w *workspace) installApp(a app) error {
	dir := w.appDir(a.name)
	if err := exampleapp.Install(w.Dir, a.name, dir); err != nil {
		return err
	}
	for _, command := range a.deploy {
		cmd := exec.Command("php", command...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("deploy %s: php %v: %w\n%s", a.name, command, err, out)
		}
	}
	return nil
}

func (w *workspace) appDir(name string) string { return w.path("app-" + name) }
