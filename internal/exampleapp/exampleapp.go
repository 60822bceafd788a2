// Package exampleapp installs the applications of examples/ without Composer: the tests and the benchmark run them on the
// frameworks that Debian packages. Nothing of it is visible to users, who run "composer install".
package exampleapp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Debian is where its packages put PHP libraries.
const Debian = "/usr/share/php"

// Packages are those that the applications need, by the file that shows that they are there.
var Packages = map[string]string{
	"symfony": "apt-get install php-symfony-framework-bundle php-symfony-twig-bundle php-symfony-runtime php-symfony-mime php-symfony-yaml",
	"laravel": "apt-get install php-laravel-framework",
	"lumen":   "apt-get install php-laravel-lumen-framework",
}

var marks = map[string]string{
	"symfony": "Symfony/Bundle/TwigBundle/TwigBundle.php",
	"laravel": "Illuminate/Foundation/Application.php",
	"lumen":   "Laravel/Lumen/Application.php",
}

// Missing reports whether Debian's packages for the application are not installed.
func Missing(app string) bool {
	_, err := os.Stat(filepath.Join(Debian, marks[app]))
	return err != nil
}

// Install copies the application of examples/<app> below root, the checkout, to dir, and writes the vendor folder that Composer
// would have made. Folders given as extra, relative to root, are laid over it. All folders are open to every user: workers often
// run as another one.
func Install(root, app, dir string, extra ...string) error {
	own := filepath.Join("examples", app)
	if app == "lumen" {
		own = filepath.Join("examples", "testdata", app) // for tests alone: no new application begins with Lumen
	}
	for _, from := range append([]string{own}, extra...) {
		if err := copyTree(filepath.Join(root, from), dir); err != nil {
			return fmt.Errorf("install %s: %w", app, err)
		}
	}
	vendor := filepath.Join(dir, "vendor")
	if err := os.MkdirAll(vendor, 0o755); err != nil {
		return err
	}
	autoload := fmt.Sprintf("<?php\n\nreturn (require '%s')(dirname(__DIR__));\n", filepath.Join(root, "examples", "testdata", "debian.php"))
	if err := os.WriteFile(filepath.Join(vendor, "autoload.php"), []byte(autoload), 0o644); err != nil {
		return err
	}
	if err := errors.Join(writeRuntime(vendor), writeBin(root, vendor), writeEnv(dir)); err != nil {
		return fmt.Errorf("install %s: %w", app, err)
	}
	return openAll(dir)
}

// writeBin makes the link to the worker for Laravel that Composer would make.
func writeBin(root, vendor string) error {
	if err := os.MkdirAll(filepath.Join(vendor, "bin"), 0o755); err != nil {
		return err
	}
	proxy := fmt.Sprintf("<?php\n\n$GLOBALS['_composer_autoload_path'] = __DIR__ . '/../autoload.php';\n\nreturn require '%s';\n",
		filepath.Join(root, "sdk", "php", "bin", "edge-laravel"))
	return os.WriteFile(filepath.Join(vendor, "bin", "edge-laravel"), []byte(proxy), 0o644)
}

// writeEnv does what "cp .env.example .env" and "php artisan key:generate" do, with a key that is no secret.
func writeEnv(dir string) error {
	env, err := os.ReadFile(filepath.Join(dir, ".env.example"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	key := "APP_KEY=base64:" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	return os.WriteFile(filepath.Join(dir, ".env"), []byte(strings.Replace(string(env), "APP_KEY=", key, 1)), 0o644)
}

// writeRuntime does what the Composer plugin of symfony/runtime does.
func writeRuntime(vendor string) error {
	template, err := os.ReadFile(filepath.Join(Debian, "Symfony/Component/Runtime/Internal/autoload_runtime.template"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	code := strings.NewReplacer(
		"%runtime_class%", `Symfony\Component\Runtime\SymfonyRuntime::class`,
		"%runtime_options%", `['project_dir' => dirname(__DIR__)]`,
	).Replace(string(template))
	return os.WriteFile(filepath.Join(vendor, "autoload_runtime.php"), []byte(code), 0o644)
}

// copyTree leaves out what an installation or a run of the example has left in the checkout.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			if rel == "vendor" || rel == "var" {
				return filepath.SkipDir
			}
			return os.MkdirAll(target, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return err
		}
		// As deployed a while ago: Laravel compiles a view that is as young as its compiled form for every request.
		return os.Chtimes(target, time.Time{}, time.Now().Add(-time.Hour))
	})
}

// openAll lets everybody write, as nobody knows here who the workers will be. The folder itself is the caller's.
func openAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o777)
	})
}
