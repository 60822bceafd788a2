package rpc

import (
	"fmt"
	"testing"

	"github.com/edge-server/edge/internal/frame"
)

type exactRequest struct{ Key string }

func (*exactRequest) NotUTF8(arg []byte) error { return fmt.Errorf("not UTF-8: %q", arg) }

// TestJSONThatIsNotUTF8 is refused where two keys would become one, and nowhere else.
func TestJSONThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	arg := []byte("{\"Key\":\"k\xff\"}")
	if err := decode(frame.FlagJSON, arg, &exactRequest{}); err == nil {
		t.Error("a request that wants to know was not asked")
	}
	var other struct{ Key string }
	if err := decode(frame.FlagJSON, arg, &other); err != nil || other.Key != "k\ufffd" {
		t.Errorf("%q, %v", other.Key, err)
	}
}
