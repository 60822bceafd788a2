package examples

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/browser"
	"github.com/edge-server/edge/internal/testenv"
)

// TestEchoNotifications: two people with the real Laravel Echo send each other notifications.
func TestEchoNotifications(t *testing.T) {
	t.Parallel()
	testenv.PHP(t)
	s := edgetest.StartDir(t, withAssets(t, "echo-notifications"))
	people := map[string]*browser.Tab{}
	for _, name := range []string{"anna", "bert"} {
		tab := browser.Start(t).Open(t, s.HTTP+"/") // cookies of their own
		tab.Type(t, "#login input", name, true)
		tab.Eventually(t, fmt.Sprintf(`state.textContent === "signed in as %s"`, name))
		people[name] = tab
	}
	send := func(from, to, text string) {
		t.Helper()
		people[from].Type(t, `[name="to"]`, to, false)
		people[from].Type(t, `[name="text"]`, text, true)
		people[to].Eventually(t, fmt.Sprintf(`toasts.firstChild?.textContent === "from %s" + %q`, from, text))
	}
	send("anna", "bert", "Dinner at <b>eight</b>?")
	send("bert", "anna", "Gern, bis später")
	if got := people["anna"].Do(t, `toasts.children.length`); got != 1.0 {
		t.Errorf("anna has %v notifications, want the one that is hers", got)
	}
	status := people["anna"].Do(t, `fetch("broadcasting/auth", {method: "POST", body: new URLSearchParams({socket_id: "1.1", channel_name: "private-App.Models.User.bert"})}).then((r) => r.status)`)
	if status != 403.0 {
		t.Errorf("anna asks for bert's channel: %v", status)
	}
}

// withAssets copies an example to where npm has run.
func withAssets(t *testing.T, name string) string {
	t.Helper()
	root, modules := testenv.Root(t), filepath.Join(testenv.PusherClients(t), "node_modules")
	base := testenv.Dir(t)
	dir := filepath.Join(base, "examples", name)
	if err := os.CopyFS(dir, os.DirFS(name)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "sdk"), filepath.Join(base, "sdk")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"laravel-echo/dist/echo.iife.js", "pusher-js/dist/web/pusher.min.js"} {
		b, err := os.ReadFile(filepath.Join(modules, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "public", "assets"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "public", "assets", filepath.Base(file)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDashboard: what is sold in one tab shows in the other.
func TestDashboard(t *testing.T) {
	t.Parallel()
	testenv.PHP(t)
	s := edgetest.StartDir(t, "dashboard-sse")
	b := browser.Start(t)
	one, two := b.Open(t, s.HTTP+"/"), b.Open(t, s.HTTP+"/")
	for _, tab := range []*browser.Tab{one, two} {
		tab.Eventually(t, `state.textContent === "live" && orders.textContent === "0"`)
	}
	one.Do(t, `document.querySelector("#bar-bread button").click()`)
	two.Do(t, `document.querySelector("#bar-cheese button").click()`)
	for _, tab := range []*browser.Tab{one, two} {
		tab.Eventually(t, `orders.textContent === "2" && revenue.textContent === "€12.30" && document.querySelector("#bar-bread span").textContent === "1"`)
	}
	if status := one.Do(t, `fetch("orders", {method: "POST", body: new URLSearchParams({product: "gold"})}).then((r) => r.status)`); status != 422.0 {
		t.Errorf("a product that is not there: %v", status)
	}
	one.Close(t)
	testenv.Eventually(t, "the worker of the tab that was closed is free", func() bool {
		busy := 0
		for _, pool := range s.Workers() {
			for _, w := range pool.Workers {
				if pool.Name == "streams" && w.State != "ready" && w.State != "idle" {
					busy++
				}
			}
		}
		return busy <= 1
	})
}
