package brokertest_test

import (
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(testing.TB) brokertest.Fleet {
		return brokertest.Fleet{Alone: true, New: func(testing.TB) ws.Broker { return ws.NewMemory() }}
	})
}
