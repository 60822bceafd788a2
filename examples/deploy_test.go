package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// image is a stage of a Dockerfile, as BuildKit's parser reads it.
type image struct {
	Name, Base string
	Commands   []struct{ Name, Source string }
}

// understood is what the parsers of container engines make of the files in deploy/.
func understood(t *testing.T, out any, files ...string) {
	t.Helper()
	cmd := exec.Command(testenv.Tool(t, "deploycheck", "make deps builds it into .tools/"), files...)
	cmd.Dir = "deploy"
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
}

// TestDockerfilesAreRead by BuildKit's parser and linter; what they copy is there, and they end as they should.
func TestDockerfilesAreRead(t *testing.T) {
	t.Parallel()
	var files map[string][]image
	understood(t, &files, "Dockerfile", "php.Dockerfile")
	for file, base := range map[string]string{"Dockerfile": "gcr.io/distroless/static-debian12:nonroot", "php.Dockerfile": "debian:bookworm-slim"} {
		stages := files[file]
		if len(stages) != 2 || stages[0].Name != "build" || stages[1].Base != base {
			t.Fatalf("%s has the stages %+v", file, stages)
		}
		for _, stage := range stages {
			for _, c := range stage.Commands {
				if c.Name == "COPY" && !strings.Contains(c.Source, "--from") {
					copied(t, file, c.Source)
				}
			}
		}
		for _, want := range []string{"EXPOSE 8080 8443 8443/udp", "VOLUME /var/lib/edge", `CMD ["serve"]`} {
			if !slices.ContainsFunc(stages[1].Commands, func(c struct{ Name, Source string }) bool { return c.Source == want }) {
				t.Errorf("%s lacks %s", file, want)
			}
		}
	}
}

// copied checks that the sources of COPY are in the build context, the checkout.
func copied(t *testing.T, file, source string) {
	t.Helper()
	words := strings.Fields(source)
	for _, from := range words[1 : len(words)-1] {
		if _, err := os.Stat(filepath.Join(testenv.Root(t), from)); err != nil {
			t.Errorf("%s: %s: %v", file, source, err)
		}
	}
}

// project is a compose file with everything filled in.
type project struct {
	Services map[string]struct {
		Image       string
		Build       struct{ Context, Dockerfile string }
		Environment map[string]string
		Volumes     []struct{ Type, Source, Target string }
	}
	Volumes map[string]any
}

func readCompose(t *testing.T) project {
	t.Helper()
	var files map[string]project
	understood(t, &files, "docker-compose.yml")
	return files["docker-compose.yml"]
}

// TestComposeRuns what its file says about Edge: the application of the image, with the stores of the environment, at real servers.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	testenv.PHP(t)
	redis, memcached := testenv.Redis(t), testenv.Memcached(t)
	environ := []string{`EDGE_TELEMETRY__METRICS={listen: "127.0.0.1:0"}`}
	for name, value := range readCompose(t).Services["edge"].Environment {
		value = strings.NewReplacer("redis:6379", redis.Addr, "memcached:11211", memcached.Addr).Replace(value)
		environ = append(environ, name+"="+value)
	}
	s := edgetest.StartDir(t, "deploy/app", environ...)
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if res, body := m.Get(t, "/"); res.StatusCode != 200 || !strings.HasPrefix(body, "Visit ") {
			t.Errorf("answer %s %q", res.Status, body)
		}
	})
	for name, driver := range map[string]string{"sessions": "redis", "cache": "memcached"} {
		if got := s.Config().KV[name].Driver; got != driver {
			t.Errorf("the store %s is in %s, want %s", name, got, driver)
		}
	}
}

// TestComposeIsRead by Compose's own loader, which checks its schema: all services are there, what they mount exists.
func TestComposeIsRead(t *testing.T) {
	t.Parallel()
	project := readCompose(t)
	for _, name := range []string{"edge", "redis", "memcached", "rabbitmq", "prometheus", "grafana"} {
		service, there := project.Services[name]
		if !there || service.Image == "" && service.Build.Dockerfile == "" {
			t.Errorf("there is no service %s", name)
		}
		for _, v := range service.Volumes {
			if v.Type == "bind" {
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			} else if _, there := project.Volumes[v.Source]; !there {
				t.Errorf("%s mounts %q, which is not among the volumes", name, v.Source)
			}
		}
	}
	edge := project.Services["edge"]
	if _, err := os.Stat(filepath.Join(edge.Build.Context, edge.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	cmd := exec.Command(testenv.Tool(t, "promtool", "apt-get install prometheus"), "check", "config", "deploy/compose/prometheus.yml")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("prometheus.yml: %v\n%s", err, out)
	}
}
