package phpsdk_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

const hushed = "hush, hush, hush, hush"

// TestServices runs the clients of the server's services against a whole server, whose RPC is on TCP with a secret: phpunit takes
// the socket beside it, as workers do.
func TestServices(t *testing.T) {
	t.Parallel()
	phpunit := testenv.Tool(t, "phpunit", "apt-get install phpunit php-nyholm-psr7 php-psr-simple-cache")
	s, public := startServices(t)
	out, err := runPHP(t, s, public, phpunit, "--fail-on-skipped", "--fail-on-incomplete", "tests/Services")
	if err != nil || !strings.Contains(out, "OK (") {
		t.Fatalf("phpunit: %v\n%s", err, out)
	}

	metrics := scrape(t, s)
	for _, want := range []string{
		`orders_total{payment="card"} 2`, `orders_total{payment="cash"} 1`, `depth 7.5`, `shop_cart_seconds_bucket{le="1"} 1`,
		`shop_cart_seconds_bucket{le="0.1"} 0`, `size{quantile="0.5"} 3`, `app_from_config{who="x"} 4`, `# HELP orders_total Orders.`, `edge_ready 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if strings.Contains(metrics, "\ngone ") || strings.Contains(metrics, "edge_mine") {
		t.Error("/metrics has what it should not")
	}
	for _, want := range []string{
		`"level":"ERROR","msg":"it broke"`, `"order":"7"`, `"list":"[1,\"ü\"]"`, `"text":"a\nb"`, `"level":"WARN","msg":"it is late"`, `"msg":"not UTF-8: ?"`,
		"raw text k:v", "raw line\n", `"msg":"a plain text"`,
	} {
		if !strings.Contains(s.Log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Contains(s.Log.String(), "nobody sees this") || strings.Contains(s.Log.String(), "hush, hush") {
		t.Error("the log has what it should not")
	}
}

// startServices is a server with every service, and its address of TCP.
func startServices(t testing.TB) (*edgetest.Server, string) {
	t.Helper()
	app, err := filepath.Abs("tests/workers/app.php")
	check(t, err)
	u, err := user.Current()
	check(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	public, metrics := listener.Addr().String(), ""
	check(t, listener.Close())
	if listener, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
		metrics = listener.Addr().String()
		check(t, listener.Close())
	}
	s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{php: app}], cache: {pages: {store: cache}}}
php: {app: {command: [%s, %s], user: %s, workers: {min: 2, max: 2}}}
kv: {main: {driver: memory}, cache: {driver: memory}}
rpc: {listen: "tcp://%s", secret: "%s"}
telemetry: {metrics: {listen: "%s", collect: {from_config: {type: counter, namespace: app, labels: [who]}}}}
`, testenv.PHP(t), quietApp(t, app), u.Username, public, hushed, metrics))
	return s, "tcp://" + public
}

// quietApp is a worker that does nothing but serve.
func quietApp(t testing.TB, app string) string {
	t.Helper()
	path := filepath.Join(testenv.Dir(t), "quiet.php")
	autoload := filepath.Join(filepath.Dir(app), "../../autoload.php")
	check(t, os.WriteFile(path, fmt.Appendf(nil, "<?php require '%s'; (new Edge\\Http\\Worker())->serve(fn () => Edge\\Http\\Response::text('hi'));", autoload), 0o644))
	return path
}

// runPHP runs a program as a worker of the server would see its environment.
func runPHP(t testing.TB, s *edgetest.Server, public string, command ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	socket := "unix://" + filepath.Join(s.Dir, ".edge", "rpc.sock")
	cmd.Env = append(os.Environ(), "EDGE_RPC="+socket, "RR_RPC="+socket, "EDGE_TEST_PUBLIC="+public, "EDGE_RPC_SECRET=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func scrape(t testing.TB, s *edgetest.Server) string {
	t.Helper()
	res, err := http.Get("http://" + s.Config().Telemetry.Metrics.Listen + "/metrics")
	check(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	check(t, err)
	http.DefaultClient.CloseIdleConnections()
	return string(body)
}
