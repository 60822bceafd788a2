package wasmhost

import (
	"net/http"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const maxSaid = 1 << 10 // bytes of set_error

func coreFunctions() []edgeFunction {
	return []edgeFunction{
		{abi.ABIVersion, ":i", always, func(*instance, api.Memory, []uint64) (int64, error) { return int64(abi.Version), nil }},
		{abi.Has, "ii:i", always, coreHas},
		{abi.NowMS, ":I", always, nowMS},
		{abi.DeadlineMS, ":I", always, deadlineMS},
		{abi.VarGet, "iiii:i", withRequest, varGet},
		{abi.VarSet, "iiii:i", withRequest, varSet},
		{abi.LastError, "ii:i", always, lastError},
		{abi.SetError, "ii:i", always, setError},
		{abi.Flush, ":i", withAnswer, flush},
	}
}

// nowMS is the wall clock: who reads it at the start may have seeded a generator with it, as with that of WASI.
func nowMS(i *instance, _ api.Memory, _ []uint64) (int64, error) {
	i.entropy.clock = true
	return time.Now().UnixMilli(), nil
}

func coreHas(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := textAt(mem, s[0], s[1], 128)
	if err == nil && i.gen.sees(name) {
		return 1, nil
	}
	return 0, err
}

func deadlineMS(i *instance, _ api.Memory, _ []uint64) (int64, error) {
	deadline, bounded := i.deadline()
	if !bounded {
		return -1, nil
	}
	return max(time.Until(deadline).Milliseconds(), 0), nil
}

// lastError does not change what it tells.
func lastError(i *instance, mem api.Memory, s []uint64) (int64, error) {
	text := ""
	if i.ext.failed != nil {
		text = i.ext.failedIn + ": " + i.ext.failed.Error()
	}
	return give(mem, s[0], s[1], text)
}

func setError(i *instance, mem api.Memory, s []uint64) (int64, error) {
	b, err := bytesAt(mem, s[0], s[1])
	if err == nil {
		i.ext.said = printable(b[:min(len(b), maxSaid)])
	}
	return 0, err
}

// flush sends what the guest has written of its answer, for origins that stream.
func flush(i *instance, _ api.Memory, _ []uint64) (int64, error) {
	x := &i.exchange
	if x.held != nil {
		return 0, refusal(abi.ErrUnsupported, "the answer is held back by buffer_response")
	}
	if !x.answerBegun {
		return 0, refusal(abi.ErrPhase, "there is nothing to send: write_body comes first")
	}
	var err error
	i.waitForClient(func() { err = http.NewResponseController(x.w).Flush() })
	if err != nil {
		return 0, refusal(abi.ErrClosed, "the client cannot be reached: %v", err)
	}
	return 0, nil
}
