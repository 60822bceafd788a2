package redis

import (
	"fmt"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// TestSlots compares with what the server says.
func TestSlots(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(testenv.FreePort(t)))
	for _, key := range []string{"", "a", "123456789", "{user}.1", "x{user}y{z}", "{}x", "{", "a}b{c}", "{{a}}", "ключ"} {
		want, err := testenv.RedisDo(server.Addr, "CLUSTER", "KEYSLOT", "p:"+key)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(slotOf("p:", key)); got != want {
			t.Errorf("the slot of %q is %s, want %s", "p:"+key, got, want)
		}
	}
}
