// Package browser drives a headless Chromium in tests, by the protocol of its developer tools:
//
//	b := browser.Start(t)
//	tab := b.Open(t, s.HTTP+"/")
//	tab.Do(t, `document.querySelector("form").requestSubmit()`)
//	tab.Eventually(t, `document.body.innerText.includes("hello")`)
package browser

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-server/edge/internal/testenv"
)

// patience is how long the browser may take for an answer, on a busy machine.
const patience = time.Minute

// Browser is a running Chromium with a profile of its own, ended by the test's cleanup.
type Browser struct {
	conn *websocket.Conn
	done chan struct{} // closed when the reader has ended

	mu      sync.Mutex // guards what follows, and writing
	next    int
	waiting map[int]chan reply
	tabs    map[string]*Tab // by session
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start launches the browser.
func Start(t testing.TB) *Browser {
	t.Helper()
	path := testenv.Tool(t, "chromium", "apt-get install chromium")
	profile := testenv.Dir(t)
	args := []string{
		"--headless=new", "--remote-debugging-port=0", "--user-data-dir=" + profile, "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows", "about:blank",
	}
	if os.Geteuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...) // it refuses to run as root otherwise
	}
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log := &testenv.Log{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &Browser{done: make(chan struct{}), waiting: map[int]chan reply{}, tabs: map[string]*Tab{}}
	t.Cleanup(func() {
		if b.conn != nil {
			b.conn.Close()
			<-b.done
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its helpers too
		_ = cmd.Wait()
		if t.Failed() {
			lines := slices.DeleteFunc(strings.Split(log.String(), "\n"), func(line string) bool { return strings.Contains(line, ":dbus/") })
			t.Logf("what chromium said, but for a desktop that is not there:\n%s", strings.Join(lines, "\n"))
		}
	})
	address := ""
	testenv.Eventually(t, "chromium listens", func() bool {
		b, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		port, path, ok := strings.Cut(string(b), "\n")
		address = "ws://127.0.0.1:" + port + strings.TrimSpace(path)
		return err == nil && ok
	})
	conn, _, err := websocket.DefaultDialer.Dial(address, nil)
	if err != nil {
		t.Fatalf("connect to chromium: %v", err)
	}
	b.conn = conn
	go b.read() // ends when the cleanup closes the connection
	return b
}

// read hands answers to those who wait, and errors of pages to their tabs.
func (b *Browser) read() {
	defer close(b.done)
	for {
		var m struct {
			ID        int
			SessionID string
			Method    string
			Params    json.RawMessage
			reply
		}
		if err := b.conn.ReadJSON(&m); err != nil {
			b.mu.Lock()
			for id, answer := range b.waiting {
				close(answer)
				delete(b.waiting, id)
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		b.mu.Lock()
		answer, tab := b.waiting[m.ID], b.tabs[m.SessionID]
		delete(b.waiting, m.ID)
		if tab != nil && m.Method == "Runtime.exceptionThrown" {
			tab.problems = append(tab.problems, string(m.Params))
		}
		b.mu.Unlock()
		if answer != nil {
			answer <- m.reply
		}
	}
}

// call sends a command and decodes its result.
func (b *Browser) call(session, method string, params, into any) error {
	answer := make(chan reply, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return errors.New("chromium has gone")
	}
	b.next++
	b.waiting[b.next] = answer
	err := b.conn.WriteJSON(map[string]any{"id": b.next, "sessionId": session, "method": method, "params": params})
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case r, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: chromium has gone", method)
		case r.Error != nil:
			return fmt.Errorf("%s: %s", method, r.Error.Message)
		case into == nil:
			return nil
		}
		return json.Unmarshal(r.Result, into)
	case <-time.After(patience):
		return fmt.Errorf("%s: no answer within %s", method, patience)
	}
}

// Tab is a page.
type Tab struct {
	browser  *Browser
	target   string
	session  string
	problems []string // errors that no script has caught; the browser's lock guards it
}

// Open opens a page in a new tab, which shares cookies and storage with the others, and waits until it is loaded.
func (b *Browser) Open(t testing.TB, url string) *Tab {
	t.Helper()
	var target struct{ TargetID string }
	var session struct{ SessionID string }
	tab := &Tab{browser: b}
	if err := b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		t.Fatal(err)
	}
	if err := b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session); err != nil {
		t.Fatal(err)
	}
	tab.target, tab.session = target.TargetID, session.SessionID
	b.mu.Lock()
	b.tabs[tab.session] = tab
	b.mu.Unlock()
	for _, domain := range []string{"Runtime", "Page"} {
		if err := b.call(tab.session, domain+".enable", struct{}{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	tab.Go(t, url)
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := tab.try(`document.body?.innerText`)
			t.Logf("the page showed:\n%v", text)
		}
		for _, p := range tab.Problems() {
			t.Errorf("an error of the page: %s", p)
		}
	})
	return tab
}

// Go leads the tab to another page and waits until it is loaded.
func (tab *Tab) Go(t testing.TB, url string) {
	t.Helper()
	var went struct{ ErrorText string }
	if err := tab.browser.call(tab.session, "Page.navigate", map[string]any{"url": url}, &went); err != nil || went.ErrorText != "" {
		t.Fatalf("open %s: %v %s", url, err, went.ErrorText)
	}
	tab.Eventually(t, `document.readyState === "complete"`)
}

// Close closes the tab, as a user does.
func (tab *Tab) Close(t testing.TB) {
	t.Helper()
	if err := tab.browser.call("", "Target.closeTarget", map[string]any{"targetId": tab.target}, nil); err != nil {
		t.Fatal(err)
	}
}

// Problems are errors of the page that no script has caught.
func (tab *Tab) Problems() []string {
	tab.browser.mu.Lock()
	defer tab.browser.mu.Unlock()
	return append([]string(nil), tab.problems...)
}

// Forget takes the problems that there are for expected.
func (tab *Tab) Forget() {
	tab.browser.mu.Lock()
	defer tab.browser.mu.Unlock()
	tab.problems = nil
}

// Do runs JavaScript in the page and returns its value, after the promise if it is one.
func (tab *Tab) Do(t testing.TB, script string) any {
	t.Helper()
	value, err := tab.try(script)
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return value
}

func (tab *Tab) try(script string) (any, error) {
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := tab.browser.call(tab.session, "Runtime.evaluate", map[string]any{
		"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true,
	}, &out)
	if err == nil && out.ExceptionDetails != nil {
		err = errors.New(out.ExceptionDetails.Text + " " + out.ExceptionDetails.Exception.Description)
	}
	return out.Result.Value, err
}

// Eventually waits until an expression is true. One that throws is not.
func (tab *Tab) Eventually(t testing.TB, expression string) {
	t.Helper()
	testenv.Eventually(t, expression, func() bool {
		value, err := tab.try("Boolean(" + expression + ")")
		return err == nil && value == true
	})
}

// Type puts text into the field that a selector finds, as an event that the page sees, and presses Enter when submit is true.
func (tab *Tab) Type(t testing.TB, selector, text string, submit bool) {
	t.Helper()
	tab.Do(t, fmt.Sprintf(`{ const field = document.querySelector(%q); field.focus(); field.value = ""; }`, selector))
	if err := tab.browser.call(tab.session, "Input.insertText", map[string]any{"text": text}, nil); err != nil {
		t.Fatal(err)
	}
	if submit {
		tab.Do(t, fmt.Sprintf(`document.querySelector(%q).form.requestSubmit()`, selector))
	}
}
