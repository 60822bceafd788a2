package brokertest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, func(testing.TB) brokertest.Fleet {
		return brokertest.Fleet{Alone: true, New: func(testing.TB) ws.Broker { return ws.NewMemory() }}
	})
}
