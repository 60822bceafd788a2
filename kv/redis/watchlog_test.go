package redis_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestWatchLogsAnOutageOnce, and its end, however often it tries meanwhile.
func TestWatchLogsAnOutageOnce(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	proxy := testenv.StartToxiproxy(t).Proxy(server.Addr)
	c := config(proxy.Addr)
	log := new(testenv.Log)
	w := watching(t, openLogged(t, c, slog.New(slog.NewTextHandler(log, nil))))
	server.Kill()
	testenv.Eventually(t, "the outage is logged", func() bool { return strings.Contains(log.String(), "broke") })
	server.Start()
	testenv.Eventually(t, "Ready after its return", w.isReady)
	testenv.Eventually(t, "the end is logged", func() bool { return strings.Contains(log.String(), "redis is back") })
	if got := log.String(); strings.Count(got, "broke") != 1 || strings.Count(got, "redis is back") != 1 {
		t.Errorf("one outage is logged as\n%s", got)
	}
}
