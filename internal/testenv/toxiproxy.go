package testenv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// Toxiproxy is a proxy for faults of the network: see Proxy.
type Toxiproxy struct {
	*Server
	client *http.Client
}

// Proxy is one way to a server, which can be slowed, cut and reset.
type Proxy struct {
	Addr string // where clients connect

	t    testing.TB
	name string
	api  *Toxiproxy
}

// StartToxiproxy starts the program.
func StartToxiproxy(t testing.TB) *Toxiproxy {
	t.Helper()
	path := Tool(t, "toxiproxy-server", "make deps builds it into .tools/")
	port := FreePort(t)
	s := startServer(t, loopback(port), Dir(t), path, []string{"-host", "127.0.0.1", "-port", strconv.Itoa(port)}, accepts)
	transport := &http.Transport{DisableKeepAlives: true}
	return &Toxiproxy{Server: s, client: &http.Client{Timeout: 30 * time.Second, Transport: transport}}
}

// Proxy makes a way to the server at addr.
func (x *Toxiproxy) Proxy(addr string) *Proxy {
	x.t.Helper()
	port := FreePort(x.t) // and not one that somebody else gets while the way is cut
	p := &Proxy{t: x.t, api: x, name: "p" + strconv.Itoa(port), Addr: loopback(port)}
	x.call("POST", "/proxies", map[string]any{"name": p.name, "listen": p.Addr, "upstream": addr, "enabled": true}, nil)
	return p
}

// Cut closes the way: connections break, and new ones are refused.
func (p *Proxy) Cut() { p.api.call("POST", "/proxies/"+p.name, map[string]any{"enabled": false}, nil) }

// Restore opens the way again.
func (p *Proxy) Restore() {
	p.api.call("POST", "/proxies/"+p.name, map[string]any{"enabled": true}, nil)
}

// Upstream makes the way lead to another server: connections break, and new ones go there.
func (p *Proxy) Upstream(addr string) {
	p.api.call("POST", "/proxies/"+p.name, map[string]any{"enabled": true, "listen": p.Addr, "upstream": addr}, nil)
}

// Slow delays each answer of the server.
func (p *Proxy) Slow(delay time.Duration) {
	p.toxic("latency", map[string]any{"latency": delay.Milliseconds()})
}

// Swallow lets nothing come back from the server and closes nothing: what a dead router does.
func (p *Proxy) Swallow() { p.toxic("timeout", map[string]any{"timeout": 0}) }

// Reset breaks connections with a TCP reset after the given time.
func (p *Proxy) Reset(after time.Duration) {
	p.toxic("reset_peer", map[string]any{"timeout": after.Milliseconds()})
}

// Drop closes each connection once n bytes of answers went through.
func (p *Proxy) Drop(n int) { p.toxic("limit_data", map[string]any{"bytes": n}) }

// Slice sends answers in small pieces.
func (p *Proxy) Slice(size int) {
	p.toxic("slicer", map[string]any{"average_size": size, "size_variation": size / 2, "delay": 10})
}

func (p *Proxy) toxic(kind string, attributes map[string]any) {
	p.api.call("POST", "/proxies/"+p.name+"/toxics", map[string]any{
		"name": kind, "type": kind, "stream": "downstream", "toxicity": 1, "attributes": attributes,
	}, nil)
}

// Heal removes what Slow, Swallow, Reset, Drop and Slice did.
func (p *Proxy) Heal() {
	var toxics []struct{ Name string }
	p.api.call("GET", "/proxies/"+p.name+"/toxics", nil, &toxics)
	for _, x := range toxics {
		p.api.call("DELETE", "/proxies/"+p.name+"/toxics/"+x.Name, nil, nil)
	}
}

func (x *Toxiproxy) call(method, path string, in, out any) {
	x.t.Helper()
	if err := x.try(method, path, in, out); err != nil {
		x.t.Fatalf("toxiproxy: %s %s: %v", method, path, err)
	}
}

func (x *Toxiproxy) try(method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(method, "http://"+x.Addr+path, &body)
	if err != nil {
		return err
	}
	answer, err := x.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
