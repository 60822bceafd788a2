package main

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	conformance.RunAll(t, testenv.GoGuest(t, "./sdk/go/conformance"))
}

func TestDriver(t *testing.T) {
	t.Parallel()
	conformance.RunDriver(t, testenv.GoGuest(t, "./sdk/go/conformance/driver"))
}
