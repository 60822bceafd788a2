package httpserver_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// TestSlowHTTPTest lets slowhttptest attack in its four ways: heads and bodies that come drop by drop, ranges that overlap, answers that are
// hardly taken. The server must end such connections by itself, and answer others meanwhile.
//
// It does not run beside the tests of clients that are slow but honest: they have as much time as a machine needs that is not under attack.
func TestSlowHTTPTest(t *testing.T) {
	program := testenv.Tool(t, "slowhttptest", "apt install slowhttptest")
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	const pause = 2 * time.Second // of what waits for a client
	connections := fmt.Sprint(testenv.Count(50, 1000))
	for name, attack := range map[string][]string{
		"heads":   {"-H", "-i", "10", "-x", "10"},
		"bodies":  {"-B", "-i", "10", "-s", "8192", "-x", "10"},
		"ranges":  {"-R", "-a", "10", "-b", "3000"},
		"answers": {"-X", "-w", "128", "-y", "256", "-n", "20", "-z", "8", "-k", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					readAllHandler(w, r)
					return
				}
				http.ServeContent(w, r, "file", time.Time{}, bytes.NewReader(content))
			}, func(c *Config) {
				c.Limits.ReadHeaderTimeout, c.Limits.BodyTimeout, c.Limits.WriteTimeout, c.Limits.IdleTimeout = pause, pause, pause, pause
			})
			args := append(attack, "-c", connections, "-r", "100", "-l", "150", "-p", "20", "-u", "http://"+w.plain+"/")
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			tool := exec.CommandContext(ctx, program, args...)
			var out testenv.Log
			tool.Stdout, tool.Stderr = &out, &out
			if err := tool.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { // ends with the tool, which the context ends
				defer close(ended)
				_ = tool.Wait() // what it ends with says little
			}()
			most := uint64(testenv.Count(50, 1000))
			testenv.Eventually(t, "all attackers have come, and the server is rid of them, while they go on", func() bool {
				l := w.Stats().Listeners[0]
				return l.Accepted >= most && l.Open == 0
			})
			cancel()
			<-ended
			if text := colours.ReplaceAllString(out.String(), ""); unavailable.MatchString(text) {
				t.Errorf("the server has not answered others meanwhile:\n%s", lastLines(text))
			}
		})
	}
}

var (
	colours     = regexp.MustCompile("\x1b\\[[0-9;]*m")
	unavailable = regexp.MustCompile(`service available:\s+NO`)
)

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
