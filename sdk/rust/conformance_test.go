// Package rust tests the Rust SDK: its crate natively, and guests built with it.
package rust

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/sdk/conformance"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	guest := testenv.RustGuest(t, "sdk/rust/conformance/guest.rs")
	conformance.RunAll(t, guest)
}

func TestDriver(t *testing.T) {
	t.Parallel()
	conformance.RunDriver(t, testenv.RustGuest(t, "sdk/rust/conformance/driver.rs"))
}
