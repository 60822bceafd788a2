package rrcompat

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServices(t *testing.T) {
	t.Parallel()
	r, err := translate(`
server: {command: php w.php}
service:
  once: {command: "php tick.php"}
  queue:
    command: "php artisan queue:work"
    process_num: 3
    exec_timeout: 1m
    remain_after_exit: true
    restart_sec: 5
    timeout_stop_sec: 7
    env: {app_key: "${KEY}"}
    user: deploy
    service_name_in_log: true
`, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `services:
  once:
    command: [php, tick.php]
    restart: never
    stop_signal: INT
    stop_timeout: 5s
  queue:
    command: [php, artisan, 'queue:work']
    processes: 3
    backoff:
      min: 5s
      max: 5s
    stop_signal: INT
    stop_timeout: 7s
    exec_timeout: 1m
    user: deploy
    env:
      APP_KEY: "${KEY:-}"
    channel: queue
`
	text := string(r.EdgeYAML)
	if got := text[strings.Index(text, "services:"):]; got != want {
		t.Error(cmp.Diff(want, got))
	}
	for _, bad := range []string{"service: {a: {}}", "service: {a: php}", "service: {a: {command: b, process_num: x}}"} {
		if _, err := translate("server: {command: php w.php}\n"+bad, false); err == nil || !strings.Contains(err.Error(), "service.a") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
