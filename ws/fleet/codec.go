package fleet

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"unicode/utf8"

	"github.com/edge-server/edge/ws"
)

// messageID names a publication in the whole fleet: the node's number and a count.
type messageID struct{ node, count uint64 }

const versionPublication = 1

var errMessage = errors.New("ws: a message of another node cannot be understood; nodes of a fleet run the same version, and nobody else may publish under broker.prefix")

// encode makes of a publication what goes to other nodes:
//
//	version, node (8 bytes), count (8), kind, except (uvarint), length of the user (uvarint), user, payload
func encode(id messageID, p ws.Publication) []byte {
	payload := p.Message.Payload()
	b := make([]byte, 0, 1+8+8+1+2*binary.MaxVarintLen64+len(p.ExceptUser)+len(payload))
	b = append(b, versionPublication)
	b = binary.BigEndian.AppendUint64(b, id.node)
	b = binary.BigEndian.AppendUint64(b, id.count)
	b = append(b, byte(p.Message.Kind()))
	b = binary.AppendUvarint(b, uint64(p.Except))
	b = binary.AppendUvarint(b, uint64(len(p.ExceptUser)))
	b = append(b, p.ExceptUser...)
	return append(b, payload...)
}

func decode(b []byte) (id messageID, p ws.Publication, err error) {
	if len(b) < 18 || b[0] != versionPublication {
		return id, p, errMessage
	}
	id.node, id.count = binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])
	kind := ws.Kind(b[17])
	b = b[18:]
	except, n := binary.Uvarint(b)
	if n <= 0 || except > math.MaxInt64 || kind != ws.Text && kind != ws.Binary {
		return id, p, errMessage
	}
	b = b[n:]
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return id, p, errMessage
	}
	b = b[n:]
	p.Except, p.ExceptUser = ws.ConnID(except), string(b[:length])
	if b = b[length:]; kind == ws.Text && !utf8.Valid(b) {
		return id, p, errMessage // clients close a connection on which that comes
	}
	p.Message = ws.Prepare(kind, b)
	return id, p, nil
}

// What nodes tell each other.
const (
	noteHello  = "hello"  // I am here, who else is?
	noteBeat   = "beat"   // I am here
	noteBye    = "bye"    // I go
	noteTell   = "tell"   // a command
	noteAsk    = "ask"    // which channels do you have?
	noteCall   = "call"   // do this with your connection, and answer
	noteAnswer = "answer" // these
)

// note is what a node tells the others.
type note struct {
	Type string `json:"t"`
	From string `json:"from"`

	Space   string   `json:"space,omitempty"`
	Command *command `json:"command,omitempty"`

	Ask      uint64   `json:"ask,omitempty"`
	To       string   `json:"to,omitempty"`
	Prefix   string   `json:"prefix,omitempty"`
	Channels []census `json:"channels,omitempty"`
	More     bool     `json:"more,omitempty"` // another part of the answer follows

	Request []byte `json:"request,omitempty"` // of a call, or what it is answered with
	Error   string `json:"error,omitempty"`   // why it was not done
	Gone    bool   `json:"gone,omitempty"`    // there is no such connection here
}

// census is a channel as one node sees it. Users are hashes of their names.
type census struct {
	Name        string   `json:"n"`
	Subscribers int      `json:"s"`
	Users       []uint64 `json:"u,omitempty"`
}

type command struct {
	Conn   ws.ConnID    `json:"conn,omitempty"`
	User   string       `json:"user,omitempty"`
	All    bool         `json:"all,omitempty"`
	Kind   ws.Kind      `json:"kind,omitempty"` // 0: nothing is sent
	Send   []byte       `json:"send,omitempty"`
	Code   ws.CloseCode `json:"code,omitempty"`
	Reason string       `json:"reason,omitempty"`
}

func encodeCommand(c ws.Command) *command {
	out := &command{Conn: c.Conn, User: c.User, All: c.All, Code: c.Code, Reason: c.Reason}
	if c.Send != nil {
		out.Kind, out.Send = c.Send.Kind(), c.Send.Payload()
	}
	return out
}

func (c *command) decode() (ws.Command, error) {
	out := ws.Command{Conn: c.Conn, User: c.User, All: c.All, Code: c.Code, Reason: c.Reason}
	switch {
	case c.Kind == 0:
	case c.Kind == ws.Binary, c.Kind == ws.Text && utf8.Valid(c.Send):
		out.Send = ws.Prepare(c.Kind, c.Send)
	default:
		return out, errMessage
	}
	return out, nil
}

func (n *note) encode() []byte {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // it has only what can be marshalled
	}
	return b
}

func decodeNote(b []byte) (*note, error) {
	var n note
	if err := json.Unmarshal(b, &n); err != nil || n.From == "" {
		return nil, errMessage
	}
	return &n, nil
}
