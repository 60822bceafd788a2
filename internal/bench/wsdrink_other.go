//go:build !linux

package main

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// drink reads from all connections until close.
func (c *crowd) drink() error {
	for _, socket := range c.conns {
		c.drinking.Go(func() {
			b := make([]byte, 4<<10)
			for {
				n, err := socket.Read(b)
				if err != nil {
					return
				}
				c.took(n)
			}
		})
	}
	return nil
}

// echo has each connection send the message, again and again when it has come back, until duration is over, and counts how often.
func echo(conns []*websocket.Conn, duration time.Duration, watch *wsWatch) (int64, error) {
	watch.begin()
	defer watch.end()
	end := time.Now().Add(duration)
	var trips atomic.Int64
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() { // ends with the time
			for errs[i] == nil && time.Now().Before(end) {
				errs[i] = c.WriteMessage(websocket.TextMessage, []byte(wsPayload))
				if errs[i] != nil {
					return
				}
				_, got, err := c.ReadMessage()
				if err == nil && string(got) != wsPayload {
					err = errEcho
				}
				errs[i] = err
				trips.Add(1)
			}
		})
	}
	wg.Wait()
	return trips.Load(), errors.Join(errs...)
}
