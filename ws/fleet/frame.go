package fleet

import (
	"bytes"
	"strconv"

	"github.com/edge-server/edge/ws"
)

// A frame is what a driver publishes: the log, the position and the message, LOG EPOCH:OFFSET:MESSAGE. LOG is h or p; - has no position.

// AppendFrame makes the frame of a message. Without a position the log means nothing.
func AppendFrame(log Log, at ws.Position, message []byte) []byte {
	b := make([]byte, 0, len(at.Epoch)+24+len(message))
	switch {
	case at.Offset == 0:
		return append(append(b, "-::"...), message...)
	case log == Presence:
		b = append(b, 'p')
	default:
		b = append(b, 'h')
	}
	b = append(append(b, at.Epoch...), ':')
	b = append(strconv.AppendUint(b, at.Offset, 10), ':')
	return append(b, message...)
}

// ParseFrame reads a frame. What is none has no message, which nobody can decode.
func ParseFrame(frame []byte) (log Log, at ws.Position, message []byte) {
	head, rest, ok := bytes.Cut(frame, []byte{':'})
	number, message, ok2 := bytes.Cut(rest, []byte{':'})
	if !ok || !ok2 || len(head) == 0 {
		return 0, ws.Position{}, nil
	}
	switch head[0] {
	case 'h':
		log = History
	case 'p':
		log = Presence
	case '-':
		return 0, ws.Position{}, message
	default:
		return 0, ws.Position{}, nil
	}
	offset, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || offset == 0 || len(head) == 1 {
		return 0, ws.Position{}, nil
	}
	return log, ws.Position{Epoch: string(head[1:]), Offset: offset}, message
}
