package ws

import (
	"net/http"
	"strconv"
)

// Protocol is what an endpoint speaks. One value serves all its connections.
type Protocol interface {
	// Accept is asked before the handshake is answered, on the goroutine of the HTTP request. A *Refusal is answered to the client,
	// any other error with 500. The connection has its ID, nothing can be sent yet; Conn.Data, Conn.SetUser and Conn.SetSubprotocol are usual here.
	// The request must not be kept. Every connection that was accepted gets an OnClose, also one whose handshake then fails.
	Accept(r *http.Request, c *Conn) error

	// OnOpen is the first call on the connection's goroutine.
	OnOpen(c *Conn)

	// OnMessage gets a whole message; text is UTF-8. The bytes are valid until it returns.
	OnMessage(c *Conn, kind Kind, message []byte)

	// OnClose is the last call. The connection is still subscribed to its channels (Conn.Channels), nothing can be sent any more. The
	// code is the one that ended the connection: the client's, the server's, or CloseAbnormal.
	OnClose(c *Conn, code CloseCode, reason string)
}

// Refusal is why a handshake is refused, and the answer to it.
type Refusal struct {
	Status int         // of the answer, 300 to 599
	Header http.Header // more headers; may be nil
	Text   string      // the body: plain text, and a line,
	Whole  bool        // unless this says that header and body are all there is, as the application wants them
}

func (r *Refusal) Error() string { return "refused with " + strconv.Itoa(r.Status) + ": " + r.Text }

// CloseCode is the reason of a close frame (RFC 6455, 7.4). Protocols have their own from 3000 on.
type CloseCode int

// The codes that this package uses.
const (
	CloseNormal         CloseCode = 1000
	CloseGoingAway      CloseCode = 1001
	CloseProtocolError  CloseCode = 1002
	CloseUnsupported    CloseCode = 1003
	CloseNoStatus       CloseCode = 1005 // the close frame had no code; never on the wire
	CloseAbnormal       CloseCode = 1006 // the connection broke; never on the wire
	CloseInvalidPayload CloseCode = 1007
	ClosePolicy         CloseCode = 1008
	CloseTooBig         CloseCode = 1009
	CloseInternal       CloseCode = 1011
	CloseRestart        CloseCode = 1012
	CloseTryLater       CloseCode = 1013
)
