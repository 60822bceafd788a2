package httpserver

import (
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"
)

// ticketKeys encrypt what clients keep of a TLS session and show when they come back. crypto/tls makes such keys by itself, a set for each
// configuration; these are one set for all, and another process can have them, so that clients can go on there.
type ticketKeys struct {
	ring tls.Config // which does the encrypting; its keys are ours

	mu   sync.Mutex // guards what follows
	keys [][32]byte // the first encrypts
	made time.Time  // the first
}

const (
	// ticketKeyTime is how long one key encrypts, and keptTicketKeys how many decrypt: what crypto/tls does by itself.
	ticketKeyTime  = 24 * time.Hour
	keptTicketKeys = 7
)

// newTicketKeys goes on with the keys of another process, if there are such.
func newTicketKeys(before [][]byte) *ticketKeys {
	t := &ticketKeys{}
	for _, key := range before {
		if len(key) == 32 {
			t.keys = append(t.keys, [32]byte(key))
		}
	}
	if t.made = time.Now(); len(t.keys) > 0 {
		t.ring.SetSessionTicketKeys(t.keys)
		return t
	}
	t.rotate()
	return t
}

// rotate puts a fresh key before the others. The caller holds mu, or is alone.
func (t *ticketKeys) rotate() {
	var key [32]byte
	rand.Read(key[:])
	t.keys = append([][32]byte{key}, t.keys[:min(len(t.keys), keptTicketKeys-1)]...)
	t.made = time.Now()
	t.ring.SetSessionTicketKeys(t.keys)
}

// use makes handshakes with c use the keys.
func (t *ticketKeys) use(c *tls.Config) {
	c.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		t.mu.Lock()
		if time.Since(t.made) > ticketKeyTime {
			t.rotate()
		}
		t.mu.Unlock()
		return t.ring.EncryptTicket(state, session)
	}
	c.UnwrapSession = t.ring.DecryptTicket
}

// all returns the keys, for another process.
func (t *ticketKeys) all() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list [][]byte
	for i := range t.keys {
		list = append(list, t.keys[i][:])
	}
	return list
}
