package examples

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/browser"
	"github.com/edge-server/edge/internal/testenv"
)

// TestChat has two people talk in two tabs, in PHP and in wasm alone.
func TestChat(t *testing.T) {
	t.Parallel()
	for _, example := range []string{"chat-php", "chat-wasm"} {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			if example == "chat-php" {
				testenv.PHP(t)
			}
			s := edgetest.StartDir(t, example)
			b := browser.Start(t)
			anna := b.Open(t, s.HTTP+"/")
			anna.Type(t, "#name", "Anna", true)
			anna.Eventually(t, `state.textContent === "you are Anna" && people.textContent === "Anna"`)
			anna.Type(t, "#text", "is anybody here?", true)
			anna.Eventually(t, `document.querySelector("#lines .mine")?.textContent === "Annais anybody here?"`)

			bert := b.Open(t, s.HTTP+"/")
			bert.Type(t, "#name", "Bert", true)
			bert.Eventually(t, `lines.textContent === "Annais anybody here?" && people.textContent === "AnnaBert"`)
			anna.Eventually(t, `people.textContent === "AnnaBert" && lines.textContent.includes("Bert has come in")`)
			bert.Type(t, "#text", "<img src=x onerror=alert(1)> grüß dich 🙂", true)
			for _, tab := range []*browser.Tab{anna, bert} {
				tab.Eventually(t, `lines.textContent.includes("<img src=x onerror=alert(1)> grüß dich 🙂")`)
			}

			if err := s.Reload(t.Context(), s.Config()); err != nil {
				t.Fatal(err)
			}
			anna.Type(t, "#text", "after a reload", true)
			bert.Eventually(t, `lines.lastChild.textContent === "Annaafter a reload" && state.className === "on"`)
			if n := anna.Do(t, `document.querySelectorAll("#lines .note").length`); n != 1.0 {
				t.Errorf("Anna saw %v notes, want one: somebody was disconnected", n)
			}
			bert.Close(t)
			anna.Eventually(t, `people.textContent === "Anna" && lines.lastChild.textContent === "Bert has left"`)

			// What the README sends, twice: two lines without an id are no repetition.
			client, err := admin.NewClient(s.Config().Admin, s.Config().StateDir)
			if err != nil {
				t.Fatal(err)
			}
			hall := map[string]string{"chat-php": "hall", "chat-wasm": "room.hall"}[example]
			for range 2 {
				if _, err := client.WSSend(t.Context(), "chat", admin.WSTarget{Channel: hall}, false, strings.NewReader(dinner(t, example, hall))); err != nil {
					t.Fatal(err)
				}
			}
			anna.Eventually(t, `lines.textContent.endsWith("the houseDinner is ready".repeat(2))`)

			kitchen := b.Open(t, s.HTTP+"/?room=kitchen")
			kitchen.Type(t, "#name", "Carl", true)
			kitchen.Eventually(t, `people.textContent === "Carl" && lines.children.length === 0`)
		})
	}
}

// dinner is the message that the README of an example sends to a channel.
func dinner(t *testing.T, example, channel string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(example, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`edge ws send chat '(.+)' --channel ` + regexp.QuoteMeta(channel) + "\n").FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s/README.md sends nothing to %s", example, channel)
	}
	return string(found[1])
}

// TestChatRefuses: who is not let in is told what names and rooms are and gets the form again; nothing is tried meanwhile.
func TestChatRefuses(t *testing.T) {
	t.Parallel()
	for _, example := range []string{"chat-php", "chat-wasm"} {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			if example == "chat-php" {
				testenv.PHP(t)
			}
			s := edgetest.StartDir(t, example)
			tab := browser.Start(t).Open(t, s.HTTP+"/")
			const countTries = `window.tries = 0; window.WebSocket = class extends WebSocket { constructor(...a) { super(...a); tries++; } }; 0`
			const refused = `!enter.hidden && talk.hidden && why.checkVisibility() && state.textContent === "not let in" && document.activeElement.id === "name"`
			tab.Do(t, countTries)
			for try := 1; try <= 2; try++ {
				tab.Type(t, "#name", "\u200b", true)
				tab.Eventually(t, fmt.Sprintf(refused+` && tries === %d`, try))
			}
			tab.Type(t, "#name", "Anna", true)
			tab.Eventually(t, `state.textContent === "you are Anna" && enter.hidden && !talk.hidden && tries === 3`)

			tab.Go(t, s.HTTP+"/?room=Bad%20Room")
			tab.Do(t, countTries)
			tab.Type(t, "#name", "Anna", true)
			tab.Eventually(t, refused+` && tries === 1 && why.textContent.includes('a room, here "Bad Room"')`)
		})
	}
}

// TestChatAfterARestart: the page is told that the server restarts, and comes back by itself.
func TestChatAfterARestart(t *testing.T) {
	t.Parallel()
	listen := fmt.Sprintf(`EDGE_HTTP__LISTEN=[{address: "127.0.0.1:%d"}]`, testenv.FreePort(t))
	first := edgetest.StartDir(t, "chat-wasm", listen)
	anna := browser.Start(t).Open(t, first.HTTP+"/")
	anna.Type(t, "#name", "Anna", true)
	anna.Eventually(t, `state.className === "on"`)
	anna.Do(t, `window.codes = []; socket.addEventListener("close", (e) => codes.push(e.code))`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := first.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	anna.Eventually(t, `codes[0] === 1012 && state.className === ""`)
	edgetest.StartDir(t, "chat-wasm", listen)
	anna.Eventually(t, `state.className === "on" && people.textContent === "Anna"`)
	anna.Type(t, "#text", "back again", true)
	anna.Eventually(t, `lines.lastChild.textContent === "Annaback again"`)
}

func TestChatPagesAreOne(t *testing.T) {
	t.Parallel()
	a, err := os.ReadFile("chat-php/public/index.html")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("chat-wasm/public/index.html"); err != nil || !bytes.Equal(a, b) {
		t.Errorf("chat-wasm has another page than chat-php (%v): copy it", err)
	}
}
