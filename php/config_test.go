package php_test

import (
	"os"
	"strings"
	"testing"

	"github.com/edge-server/edge/php"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	cfg := php.DefaultConfig()
	if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "command: is required") {
		t.Errorf("no command: %v", err)
	}
	if err := cfg.Command.UnmarshalText([]byte(" php  worker.php ")); err != nil || cfg.Command.String() != "php worker.php" || len(cfg.Command) != 2 {
		t.Errorf("command %q, %v", cfg.Command, err)
	}
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	if got, ok := cfg.Defaults().(php.Config); !ok || got.Mode != "worker" {
		t.Errorf("Defaults() = %+v", got)
	}

	for want, change := range map[string]func(*php.Config){
		`mode: must be worker or classic, got "cgi"`:                                       func(c *php.Config) { c.Mode = "cgi" },
		"root: is required in classic mode: the folder with the index.php, such as public": func(c *php.Config) { c.Mode = "classic" },
		`relay: must be pipes or unix or tcp, got "udp"`:                                   func(c *php.Config) { c.Relay = "udp" },
		"workers.max: must be at least workers.min (4), got 2":                             func(c *php.Config) { c.Workers.Min, c.Workers.Max = 4, 2 },
		"workers.min: must be at least 1, got 0":                                           func(c *php.Config) { c.Workers.Min = 0 },
		"queue.timeout: must be positive, got 0s":                                          func(c *php.Config) { c.Queue.Timeout = 0 },
		"exec_timeout: must not be negative (0 is unlimited), got -1ns":                    func(c *php.Config) { c.ExecTimeout = -1 },
		"body.frame: must be between body.memory (256KiB) and 2GiB, got 1":                 func(c *php.Config) { c.Body.Frame = 1 },
		`env: "A=B" is not a name and value of the environment`:                            func(c *php.Config) { c.Env = map[string]string{"A=B": ""} },
		`uploads.forbid: extensions begin with a dot, got "php"`:                           func(c *php.Config) { c.Uploads.Forbid = []string{"php"} },
		`watch.0: "[" is not a folder, file or glob`:                                       func(c *php.Config) { c.Watch = []string{"["} },
	} {
		bad := cfg
		change(&bad)
		if err := bad.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate() = %v, want %s", err, want)
		}
	}
}

// TestNewFailsFast names what is wrong with the world before anything starts.
func TestNewFailsFast(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*php.Config){
		`there is no program "no-such-php" in PATH: install it`: func(c *php.Config) { c.Command[0] = "no-such-php" },
		"no-such.php: no such file":                             func(c *php.Config) { c.Command[1] = "no-such.php" },
		"dir: lstat /no-such-dir: no such file":                 func(c *php.Config) { c.Dir = "/no-such-dir" },
		"no-such-user":                                          func(c *php.Config) { c.User = "no-such-user" },
		"workers.min: must be at least 1":                       func(c *php.Config) { c.Workers.Min = -1 },
	} {
		cfg := config(t, "app.php")
		change(&cfg)
		_, err := php.New("shop", cfg, php.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `php pool "shop"`) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
	if os.Geteuid() == 0 {
		cfg := config(t, "app.php")
		cfg.User = "no-such-user"
		if _, err := php.New("shop", cfg, php.Options{}); err == nil || !strings.Contains(err.Error(), "useradd --system no-such-user") {
			t.Errorf("New: %v, want advice", err)
		}
	}
}
