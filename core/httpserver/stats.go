package httpserver

// Stats is a snapshot of what the server counts.
type Stats struct {
	// Listeners has an entry for each socket, in the order of Server.Addresses.
	Listeners []ListenerStats

	// Requests by protocol: HTTP/1, HTTP/2 and HTTP/3. Requests that net/http itself refuses are not among them.
	HTTP1, HTTP2, HTTP3 uint64

	// Refused counts the clients that were refused before they reached the handler, by reason.
	Refused map[string]uint64

	// DroppedHeaders counts header lines that were not handed on, because their name has a _ or is Proxy.
	DroppedHeaders uint64
}

// ListenerStats is the part of Stats that belongs to one socket.
type ListenerStats struct {
	Network string // tcp, udp or unix
	Address string // as in http.listen, with the port that the system chose for port 0

	Accepted          uint64 // connections since the start
	Open              int64  // connections now
	FailedHandshakes  uint64 // TLS, on tcp
	HandshakesPending int
}

// Stats may be called at any time.
func (s *Server) Stats() Stats {
	st := Stats{Refused: map[string]uint64{}, DroppedHeaders: s.droppedHeaders.Load()}
	for why := refusedNot + 1; why < refusals; why++ {
		st.Refused[refusalNames[why]] = s.refusedBy[why].Load()
	}
	for _, e := range s.endpoints {
		st.HTTP1 += e.requests[1].Load()
		st.HTTP2 += e.requests[2].Load()
		st.HTTP3 += e.requests[3].Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		st.Listeners = append(st.Listeners, e.stats()...)
	}
	return st
}

func (e *endpoint) stats() []ListenerStats {
	if e.tcp == nil {
		return nil
	}
	address := e.cfg.Address
	if e.cfg.anyPort() {
		address = e.tcp.Addr().String()
	}
	tcp := ListenerStats{Network: e.tcp.Addr().Network(), Address: address, Accepted: e.tcp.accepted.Load(), Open: e.tcp.open.Load()}
	if e.secure != nil {
		tcp.FailedHandshakes = e.secure.failed.Load()
		tcp.HandshakesPending = e.secure.pending()
	}
	if e.quic == nil {
		return []ListenerStats{tcp}
	}
	udp := ListenerStats{Network: "udp", Address: address, Accepted: e.quic.accepted.Load(), Open: e.quic.open.Load()}
	udp.HandshakesPending = int(e.quic.handshakes.Load())
	return []ListenerStats{tcp, udp}
}
