package examples

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

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

			kitchen := b.Open(t, s.HTTP+"/?room=kitchen")
			kitchen.Type(t, "#name", "Carl", true)
			kitchen.Eventually(t, `people.textContent === "Carl" && lines.children.length === 0`)
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
