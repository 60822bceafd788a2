package rpc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// The handshake of a client that has to show that it knows the secret. Its first two calls, in any codec but RAW and PROTO, are
//
//	rpc.Challenge(true)       -> a nonce, 32 hexadecimal digits, good for one try
//	rpc.Authenticate(answer)  -> true, where answer is hex(HMAC-SHA256(secret, "edge-rpc:" + nonce))
//
// so the secret itself never travels. Anything else is answered with an error; a wrong answer and a client that takes its time lose
// the connection. What follows travels as it is: the handshake keeps others from calling, not from listening.
const (
	methodChallenge    = "Challenge"
	methodAuthenticate = "Authenticate"

	secretPrefix   = "edge-rpc:"
	secretPatience = 10 * time.Second
	strangerFrame  = 4 << 10
	strangerCalls  = 8
)

var (
	errAskFirst    = errors.New("rpc: this connection has to show that it knows rpc.secret: call rpc.Challenge and rpc.Authenticate first")
	errNoChallenge = errors.New("rpc.Authenticate: call rpc.Challenge first, for each try")
	errWrongSecret = errors.New("rpc.Authenticate: the answer does not fit rpc.secret")
)

func newNonce() string {
	var bits [16]byte
	rand.Read(bits[:]) // never fails
	return hex.EncodeToString(bits[:])
}

// solve is the answer to a challenge.
func solve(secret, nonce string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(secretPrefix + nonce))
	return hex.EncodeToString(mac.Sum(nil))
}

// admitStranger reads calls until the client has shown that it knows the secret, and reports whether it has.
func (c *conn) admitStranger() bool {
	s := c.server
	c.line.readUntil(time.Now().Add(s.hurry))
	if c.ending.Load() {
		return false // the deadline of the stop may just have been overwritten
	}
	for range strangerCalls {
		h, payload, err := c.frames.Next()
		if err != nil {
			c.explain(err)
			return false
		}
		call := new(call)
		if err := call.parse(&h, payload); err != nil {
			c.explain(err)
			return false
		}
		answer, err := c.examine(call)
		c.reply(call, answer, err)
		if errors.Is(err, errWrongSecret) {
			s.broken.Add(1)
			s.log.Warn("rpc connection closed: it does not know rpc.secret", "peer", c.peer.String())
			return false
		}
		if answer == true {
			return c.trust()
		}
	}
	return false
}

// examine answers a call of a client that is not trusted: with true, it is.
func (c *conn) examine(call *call) (any, error) {
	switch call.method {
	case "rpc." + methodChallenge:
		c.nonce = newNonce()
		return c.nonce, nil
	case "rpc." + methodAuthenticate:
		var answer string
		if err := call.decode(&answer); err != nil {
			return nil, err
		}
		nonce := c.nonce
		c.nonce = ""
		if nonce == "" {
			return nil, errNoChallenge
		}
		if !hmac.Equal([]byte(answer), []byte(solve(c.server.cfg.Secret, nonce))) {
			return nil, errWrongSecret
		}
		return true, nil
	}
	return nil, errAskFirst
}

func (c *conn) reply(call *call, answer any, err error) {
	if err == nil {
		call.begin(call.codec)
		err = call.encode(answer)
	}
	if err != nil {
		call.fail(c.server, err)
	}
	call.seal()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.write(call.out)
}

// trust lets the client call whatever there is. It reports false when the server stops in this moment.
func (c *conn) trust() bool {
	s := c.server
	s.mu.Lock()
	c.trusted = true
	s.strangers--
	s.mu.Unlock()
	c.frames.SetLimit(uint32(s.cfg.MaxFrame))
	c.line.readUntil(time.Time{})
	return !c.ending.Load() // else the deadline of the stop was overwritten
}

// Authenticate shows a server that asks for it that the client knows the secret. Others say so, too.
func (c *Client) Authenticate(ctx context.Context, secret string) error {
	var nonce string
	if err := c.Call(ctx, "rpc."+methodChallenge, true, &nonce); err != nil {
		return err
	}
	var ok bool
	return c.Call(ctx, "rpc."+methodAuthenticate, solve(secret, nonce), &ok)
}
