package main

import (
	"strings"
	"testing"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/acme"
)

// TestWelcomeSpeaksOfTheLocalCA only where it signs.
func TestWelcomeSpeaksOfTheLocalCA(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*core.HTTPConfig){
		"local": func(*core.HTTPConfig) {}, "cert": func(h *core.HTTPConfig) { h.TLS.Cert = "a.pem" }, "acme": func(h *core.HTTPConfig) { h.TLS.ACME = &acme.Config{} },
	} {
		cfg := &core.Config{HTTP: &core.HTTPConfig{}}
		change(cfg.HTTP)
		var text strings.Builder
		welcome(&text, "./edge", cfg, []core.Address{{URL: "https://localhost:8443", Protocols: []string{"h1", "h2"}}})
		if says := strings.Contains(text.String(), "trust"); says != (name == "local") {
			t.Errorf("%s: %s", name, text.String())
		}
	}
}
