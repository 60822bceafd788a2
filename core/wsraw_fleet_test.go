package core_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// TestRawConnectionsOfAnotherServer: what is asked of one server is done by the one that holds the connection, and the answer says so.
func TestRawConnectionsOfAnotherServer(t *testing.T) {
	t.Parallel()
	config := strings.Replace(rawConfig(t, 1), "limits: {rate: 0}",
		fmt.Sprintf("broker: {driver: redis, redis: {addresses: [%q]}}, limits: {rate: 0}", testenv.Redis(t).Addr), 1)
	here, there := edgetest.Start(t, config), edgetest.Start(t, config)
	c := dialRaw(t, there, "?user=anna")
	var list []struct{ ID string }
	testenv.Eventually(t, "the connection is listed", func() bool {
		return json.Unmarshal([]byte(rawList(t, there)), &list) == nil && len(list) == 1
	})
	id := list[0].ID
	client, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(here.Dir, ".edge", "rpc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	call := func(method, conn string, args map[string]any) string {
		t.Helper()
		request := map[string]any{"app": "chat", "conn": conn}
		for name, value := range args {
			request[name] = value
		}
		var answer json.RawMessage
		if err := client.Call(t.Context(), "ws."+method, request, &answer); err != nil {
			return err.Error()
		}
		return string(answer)
	}
	testenv.Eventually(t, "the servers know each other", func() bool {
		return call("Set", id, map[string]any{"attributes": map[string]string{"seat": "7"}}) == "true"
	})
	for _, step := range []struct {
		method string
		args   map[string]any
	}{
		{"Subscribe", map[string]any{"channel": "room", "member": "anna", "info": "front"}},
		{"Subscribe", map[string]any{"channel": "other"}}, {"Unsubscribe", map[string]any{"channel": "other"}},
		{"Send", map[string]any{"data": "from afar"}},
	} {
		if got := call(step.method, id, step.args); got != "true" {
			t.Errorf("%s: %s", step.method, got)
		}
		if got := call(step.method, id[:15]+string("fedcba9876543210"[strings.IndexByte("0123456789abcdef", id[15])]), step.args); got != "false" {
			t.Errorf("%s of one that is not there: %s", step.method, got)
		}
	}
	if got := readRaw(t, c); got != "from afar" {
		t.Errorf("got %q", got)
	}
	if got := call("Subscribe", id, map[string]any{"channel": strings.Repeat("x", 300)}); !strings.Contains(got, "channel: must be") {
		t.Errorf("a name that is too long: %s", got)
	}
	about := call("Connection", id, nil)
	for _, part := range []string{`"user":"anna"`, `"seat":"7"`, `"room"`} {
		if !strings.Contains(about, part) {
			t.Errorf("no %s in %s", part, about)
		}
	}
	if got := call("Members", id, map[string]any{"channel": "room"}); got != `[{"id":"anna","info":"front"}]` {
		t.Errorf("members: %s", got)
	}
	if got := call("Connection", "0000000000000001", nil); got != "null" {
		t.Errorf("nobody's ID: %s", got)
	}

	do := func(method, body string) (int, string) {
		t.Helper()
		r, _ := http.NewRequest(method, here.HTTP+"/chat/@connections/"+id, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+rawSecret)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if status, text := do("PATCH", `{"attributes": {"seat": "", "row": "2"}, "subscribe": ["a", {"channel": "b", "member": "anna"}], "unsubscribe": ["room"]}`); status != 200 ||
		!strings.Contains(text, `"attributes":{"row":"2"}`) || strings.Contains(text, `"room"`) || !strings.Contains(text, `"b"`) {
		t.Errorf("PATCH: %d %s", status, text)
	}
	if status, text := do("PATCH", `{"nothing": 1}`); status != 400 {
		t.Errorf("a PATCH that means nothing: %d %s", status, text)
	}
	many := `"x0"`
	for i := range 256 {
		many += fmt.Sprintf(`, "x%d"`, i+1)
	}
	if status, text := do("PATCH", `{"subscribe": [`+many+`]}`); status != 409 || !strings.Contains(text, "may have 256 channels") {
		t.Errorf("a PATCH of too many channels: %d %s", status, text)
	}
	if status, text := do("GET", ""); status != 200 || !strings.Contains(text, `"row":"2"`) {
		t.Errorf("GET: %d %s", status, text)
	}
	if status, text := do("POST", "by HTTP"); status != 204 || readRaw(t, c) != "by HTTP" {
		t.Errorf("POST: %d %s", status, text)
	}
	if status, text := do("DELETE", ""); status != 204 {
		t.Errorf("DELETE: %d %s", status, text)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("closed with %v", err)
	}
	testenv.Eventually(t, "it has gone", func() bool { status, _ := do("GET", ""); return status == 410 })
}
