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
		watch := &wsWatch{usage: srv.usage}
		done, err := load.run(ctx, target, srv, 100*time.Millisecond, watch)
		if err != nil || done == 0 || watch.took < 100*time.Millisecond {
			t.Errorf("%s: %v done in %s, %v", load.key, done, watch.took, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
