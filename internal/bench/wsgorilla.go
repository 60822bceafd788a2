package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// gorillaCommand is the first argument that makes this program the server gorilla, which so is a process of its own.
const gorillaCommand = "serve-gorilla"

func launchGorilla(_ context.Context, space *workspace, srv *server) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	srv.base = "http://" + address
	srv.collect = srv.base + "/collect"
	return srv.runSelf(space, gorillaCommand, address)
}

// serveGorilla echoes at /echo, sends what is posted to /publish to those who are connected at /listen, and what is posted to /events to those who
// read there, until ctx ends.
func serveGorilla(ctx context.Context, address string) error {
	var mu sync.Mutex // guards listeners
	listeners := map[*websocket.Conn]bool{}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // answered
		}
		defer c.Close()
		for {
			kind, message, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
	mux.HandleFunc("/listen", func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // answered
		}
		mu.Lock()
		listeners[c] = true
		mu.Unlock()
		defer c.Close()
		for err == nil {
			_, _, err = c.ReadMessage()
		}
		mu.Lock()
		delete(listeners, c)
		mu.Unlock()
	})
	mux.HandleFunc("GET /collect", func(http.ResponseWriter, *http.Request) { runtime.GC() })
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client went away; there is nobody to tell
		}
		message, err := websocket.NewPreparedMessage(websocket.TextMessage, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		for range max(n, 1) {
			for c := range listeners {
				_ = c.WritePreparedMessage(message) // its reader notices
			}
		}
	})
	events := &plainEvents{streams: map[chan []byte]bool{}}
	mux.HandleFunc("GET /events", events.subscribe)
	mux.HandleFunc("POST /events", events.publish)
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
