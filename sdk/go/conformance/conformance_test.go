package main

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	guest := testenv.GoGuest(t, "./sdk/go/conformance")
	conformance.RunAll(t, guest)
}

func TestDriver(t *testing.T) {
	t.Parallel()
	conformance.RunDriver(t, testenv.GoGuest(t, "./sdk/go/conformance/driver"))
}
