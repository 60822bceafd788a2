package main

import (
	"context"
	"testing"
	"time"
)

// TestWebSocketLoads drives the server that Edge stands beside, which checks the clients as well.
func TestWebSocketLoads(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serveGorilla(ctx, address) }() // ends with cancel
	target := wsTargets[len(wsTargets)-1]
	srv := &server{base: "http://" + address}
	if err := awaitWS(ctx, srv, target); err != nil {
		t.Fatal(err)
	}
	for _, load := range wsLoads {
		if load.figure { // crowds, of which one process cannot have both ends
			continue
		}
		began := false
		done, err := load.run(ctx, target, srv, 100*time.Millisecond, func() { began = true })
		if err != nil || done == 0 || !began {
			t.Errorf("%s: %v done, %v", load.key, done, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
