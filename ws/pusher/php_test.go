package pusher_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
	"github.com/edge-server/edge/ws/pusher"
)

// application is a PHP process with Laravel's broadcasting over sdk/php.
type application struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Reader
}

func (w *world) application() *application {
	t := w.t
	t.Helper()
	cfg := rpc.DefaultConfig()
	server, err := rpc.New(cfg, rpc.Options{Logger: slog.New(slog.DiscardHandler), StateDir: testenv.Dir(t), Version: "test"})
	check(t, err)
	server.Register("pusher", pusher.NewService(w.Server))
	check(t, server.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		check(t, server.Stop(ctx))
	})

	root := testenv.Root(t)
	if _, err := os.Stat("/usr/share/php/Illuminate/Broadcasting"); err != nil {
		testenv.Missing(t, "laravel", "apt-get install php-laravel-framework")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, testenv.PHP(t), "-d", "display_errors=stderr", filepath.Join(root, "ws/pusher/testdata/php/laravel.php"), root)
	cmd.Env = append(os.Environ(), "EDGE_RPC="+server.Addr(), "APP_KEY="+key, "APP_SECRET="+secret)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		check(t, cmd.Wait())
	})
	return &application{t, in, bufio.NewReader(out)}
}

func (a *application) ask(request any, answer any) string {
	a.t.Helper()
	text, err := json.Marshal(request)
	check(a.t, err)
	_, err = a.in.Write(append(text, '\n'))
	check(a.t, err)
	line, err := a.out.ReadString('\n')
	check(a.t, err)
	if answer != nil {
		if err := json.Unmarshal([]byte(line), answer); err != nil {
			a.t.Fatalf("%s: %v", line, err)
		}
	}
	return strings.TrimSpace(line)
}

type object = map[string]any

func TestLaravelBroadcastsByRPC(t *testing.T) {
	t.Parallel()
	w := start(t)
	laravel := w.application()
	ada, bob := w.connect(), w.connect()

	subscribe := func(c *client, user, channel string) object {
		t.Helper()
		var signed object
		laravel.ask(object{"auth": object{"user": user, "channel_name": channel, "socket_id": c.id}}, &signed)
		signed["channel"] = channel
		c.send("pusher:subscribe", "", signed)
		return signed
	}
	subscribe(ada, "ada", "presence-room.7")
	if f := ada.want("pusher_internal:subscription_succeeded", "presence-room.7", nil); !strings.Contains(f.text(), `"hash":{"ada":{"name":"ADA","room":"7"}}`) {
		t.Errorf("%+v", f)
	}
	subscribe(bob, "bob", "private-room.7")
	bob.want("pusher_internal:subscription_succeeded", "private-room.7", nil)
	safe := subscribe(bob, "bob", "private-encrypted-room.8")
	bob.want("pusher_internal:subscription_succeeded", "private-encrypted-room.8", nil)
	if s, _ := safe["shared_secret"].(string); len(s) != 44 {
		t.Errorf("shared secret %q", s)
	}
	for _, denied := range []object{
		{"user": "eve", "channel_name": "private-room.7", "socket_id": ada.id}, {"user": "ada", "channel_name": "private-other", "socket_id": ada.id},
		{"channel_name": "private-room.7", "socket_id": ada.id}, {"user": "ada", "channel_name": "private-room.7", "socket_id": "x"},
		{"user": "ada", "channel_name": "private-room.7:{}", "socket_id": ada.id}, {"user": "ada", "socket_id": ada.id},
	} {
		if got := laravel.ask(object{"auth": denied}, nil); got != `{"status":403}` {
			t.Errorf("%v: %s", denied, got)
		}
	}

	// ->toOthers() passes the socket.
	if got := laravel.ask(object{"broadcast": object{"channels": []string{"presence-room.7", "private-room.7"}, "event": `App\Events\Moved`,
		"payload": object{"x": 1, "to": "é/è", "socket": ada.id}}}, nil); got != "null" {
		t.Error(got)
	}
	if f := bob.want(`App\Events\Moved`, "private-room.7", nil); f.text() != `{"to":"é/è","x":1}` && f.text() != `{"x":1,"to":"é/è"}` {
		t.Errorf("%+v", f)
	}
	ada.quiet()
	laravel.ask(object{"broadcast": object{"channels": []string{"private-encrypted-room.8", "presence-room.7"}, "event": "both", "payload": object{"pin": 1}}}, nil)
	ada.want("both", "presence-room.7", nil)
	if f := bob.want("both", "private-encrypted-room.8", nil); strings.Contains(f.text(), "pin") || !strings.Contains(f.text(), "ciphertext") {
		t.Errorf("%+v", f)
	}

	var signed object
	laravel.ask(object{"signin": object{"user": "ada", "socket_id": ada.id}}, &signed)
	ada.send("pusher:signin", "", signed)
	ada.want("pusher:signin_success", "", nil)
	ada.subscribe("#server-to-user-ada", "")
	laravel.ask(object{"call": "user", "with": []any{"ada", "hello", "you"}}, nil)
	ada.want("hello", "#server-to-user-ada", nil)
	many := []object{{"channel": "presence-room.7", "event": "a", "data": 1}, {"channel": "presence-room.7", "event": "b", "data": "2", "except": bob.id}}
	laravel.ask(object{"call": "publishMany", "with": []any{many}}, nil)
	ada.want("a", "presence-room.7", nil)
	ada.want("b", "presence-room.7", nil)

	for _, c := range []struct {
		call string
		with []any
		want string
	}{
		{"users", []any{"presence-room.7"}, `["ada"]`},
		{"channels", []any{"presence-", "user_count"}, `{"presence-room.7":{"user_count":1}}`},
		{"channel", []any{"private-room.7", "subscription_count"}, `{"occupied":true,"subscription_count":1}`},
		{"publish", []any{"a b", "x", "y"}, `{"error":"Edge\\Exception\\BroadcastException: pusher.Publish: channel \"a b\": names are made of letters, digits and _-=@,.;"}`},
		{"terminate", []any{"ada"}, `null`},
	} {
		if got := laravel.ask(object{"call": c.call, "with": c.with}, nil); got != c.want {
			t.Errorf("%s: %s, want %s", c.call, got, c.want)
		}
	}
	ada.wantError(4009, "disconnected")
	ada.wantClose(4009)
}
