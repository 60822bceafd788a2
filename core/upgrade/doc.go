// Package upgrade puts another process in the place of this one while clients see nothing of it.
//
// The old process starts the new one ([Start]) and they talk over a socket pair, a [channel] that carries files beside its messages:
//
//	old → new   socket …       every listening socket, one message each
//	old → new   begin          the lock of the state folder, keys, what the stores are
//	new → old   ready          the configuration is valid, workers have booted, the checks of health are passed
//	old → new   take           it has stopped its services and given the stores away
//	new → old   taken          it serves; nothing leads back from here
//	new → old   failed         at any time before: why
//
// Until taken the old process serves as if nothing were going on, and so it goes on when the new one dies, says failed, or says nothing
// for too long. [Sockets] are what both share: the new process has them from the start, and accepts at taken.
package upgrade

import "encoding/json"

// variable names the descriptor of the channel in the environment of the new process.
const variable = "EDGE_UPGRADE"

// The kinds of messages.
const (
	KindSocket = "socket"
	KindBegin  = "begin"
	KindReady  = "ready"
	KindTake   = "take"
	KindTaken  = "taken"
	kindFailed = "failed"
)

// message is what travels over a channel.
type message struct {
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data,omitempty"`
}

// socketData describes the file of a socket message.
type socketData struct {
	Name string `json:"name"`
	UDP  bool   `json:"udp,omitempty"`
}

// Ready is what the new process says of itself.
type Ready struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
}
