package wasmhost_test

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
