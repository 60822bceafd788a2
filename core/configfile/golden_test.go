package configfile_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/internal/bytesize"
)

var update = flag.Bool("update", false, "write the results into testdata/*.yaml")

// config has one of everything that configurations are made of.
type config struct {
	Version  int                     `koanf:"version"`
	StateDir string                  `koanf:"state_dir"`
	Log      logConfig               `koanf:"log"`
	HTTP     *httpConfig             `koanf:"http"`
	PHP      map[string]poolConfig   `koanf:"php"`
	Plugins  *pluginsConfig          `koanf:"plugins"`
	Hosts    map[string]*routeConfig `koanf:"hosts"`
	Numbers  numbers                 `koanf:"numbers"`
	hidden   int                     //nolint:unused // fields without a tag are not configuration
	Untagged string
}

type logConfig struct {
	Level string `koanf:"level"`
	Color bool   `koanf:"color"`
}

type httpConfig struct {
	Listen     []listenConfig `koanf:"listen"`
	Middleware []string       `koanf:"middleware"`
	Limits     limits         `koanf:"limits"`
	Routes     []routeConfig  `koanf:"routes"`
}

type limits struct {
	Header bytesize.Size `koanf:"header"`
	Idle   time.Duration `koanf:"idle"`
}

func (httpConfig) Defaults() any {
	return httpConfig{Listen: []listenConfig{{Address: ":8080"}, {Address: ":8443", TLS: true}}, Limits: limits{64 * bytesize.KiB, time.Minute}}
}

type listenConfig struct {
	Address string `koanf:"address"`
	TLS     bool   `koanf:"tls"`
	Backlog int    `koanf:"backlog"`
}

func (listenConfig) Defaults() any { return listenConfig{Backlog: 128} }

type routeConfig struct {
	Name    string      `koanf:"name"`
	Host    stringList  `koanf:"host"`
	Respond *respond    `koanf:"respond"`
	Weights [][]float64 `koanf:"weights"`
}

// stringList may be written as one text.
type stringList []string

func (l *stringList) UnmarshalConfig(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("%v does not do: write a text or a list of texts", v)
	}
	*l = stringList{text}
	return nil
}

type respond struct {
	Status  int               `koanf:"status"`
	Body    string            `koanf:"body"`
	Headers map[string]string `koanf:"headers"`
}

func (respond) Defaults() any { return respond{Status: 200} }

func (r *respond) UnmarshalConfig(v any) error {
	text, ok := v.(string)
	if !ok {
		return errors.New("write a text, or {status: 200, body: text}")
	}
	r.Body = text
	return nil
}

type poolConfig struct {
	Command command       `koanf:"command"`
	Workers workers       `koanf:"workers"`
	Timeout time.Duration `koanf:"timeout"`
	Max     *int          `koanf:"max"`
	shared  `koanf:",squash"`
}

func (poolConfig) Defaults() any {
	return poolConfig{Command: command{"php", "worker.php"}, Workers: workers{Min: 1, Max: 8}, Timeout: time.Minute}
}

type shared struct {
	User string `koanf:"user"`
}

type workers struct {
	Min uint8 `koanf:"min"`
	Max int   `koanf:"max"`
}

// command is a list that may also be written as one line.
type command []string

func (c *command) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("is empty")
	}
	*c = strings.Fields(string(text))
	return nil
}

type pluginsConfig struct {
	Dir     string                  `koanf:"dir"`
	Modules map[string]moduleConfig `koanf:"modules"`
}

type moduleConfig struct {
	Config any            `koanf:"config"`
	Extra  map[string]any `koanf:"extra"`
}

type numbers struct {
	Int8  int8    `koanf:"int8"`
	Int   int64   `koanf:"int"`
	Uint  uint64  `koanf:"uint"`
	Float float64 `koanf:"float"`
}

func defaults() config {
	return config{Version: 1, StateDir: ".edge", Log: logConfig{Level: "info", Color: true}, Untagged: "kept"}
}

// TestGolden reads each file of testdata: a configuration, a line of dashes, and the problems or the result. Lines "# env:
// NAME=value" at its top are the environment.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("testdata/*.yaml: %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(text), "\n----------\n")
			if !found && !*update {
				t.Fatal("no line of ten dashes")
			}
			got := result(input + "\n")
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimSuffix(input, "\n")+"\n----------\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// result is the problems of a configuration, or what of it differs from the defaults.
func result(input string) string {
	var environ []string
	for line := range strings.Lines(input) {
		if variable, ok := strings.CutPrefix(strings.TrimSpace(line), "# env: "); ok {
			environ = append(environ, variable)
		}
	}
	cfg := defaults()
	if _, err := configfile.Parse("edge.yaml", []byte(input), environ, &cfg); err != nil {
		return err.Error() + "\n"
	}
	out, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return err.Error() + "\n"
	}
	return string(out) + "\n"
}
