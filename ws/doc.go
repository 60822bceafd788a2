// Package ws carries WebSockets: the connections, the channels they listen to, and what is published there.
//
// From the outside in:
//
//	Endpoint   an http.Handler: checks the handshake and its limits, and makes a Conn of the request (HTTP/1.1, HTTP/2, HTTP/3)
//	Conn       one client: read by one goroutine, which calls the Protocol; written from a bounded queue
//	Protocol   what an endpoint speaks: Pusher, raw applications, … An adapter over what follows
//	Space      a world of its own: connections, users and channels of one application, hidden from those of others
//	Hub        all spaces of this process: the goroutines that write, the clock of pings, the shutdown
//	Broker     what nodes share: publications, history, presence. NewMemory is the one of a single node
//
// A publication goes Space.Publish → Broker.Publish → Node.Deliver on every node that has subscribers → the queue of each
// subscriber → a writer, which sends everything that waits there in one write.
//
// # What may be called from where
//
// A Protocol's methods run on the goroutine of the connection, one at a time: OnOpen first, then OnMessage for each message in the
// order of the wire, OnClose last and once. While one of them runs nothing more is read from that client; that is the backpressure.
// Accept runs earlier, on the goroutine of the HTTP request.
//
// Everything else that is exported may be called from any goroutine at any time, also from inside a Protocol's methods and after the
// connection has ended: it then does nothing, or says ErrClosed. Nothing of Conn waits for the client: Send puts into the queue,
// Close begins to close and returns. What takes a context may wait for the broker (the memory broker never does).
//
// The exceptions: the functions in SubscribeOptions and UnsubscribeOptions run under the lock of the channel and must call nothing
// of this package but Prepare. Conn.Data belongs to the protocol: set it in Accept, and from then on use it on the connection's
// goroutine alone, or behind a lock of your own.
//
// The bytes of a message given to OnMessage are valid until it returns; everything else that is handed out may be kept.
package ws
