package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"
)

// Views are what the API shows beside status, workers and plugins. A nil one is not there.
type Views struct {
	Overview    func() Overview
	Routes      func() []Route
	Stores      func() []Store
	Connections func() Connections
	Services    func() []Service
	Config      func() ([]byte, error) // JSON, without secrets
	Drain       func(on bool)
}

// Overview is everything at one moment, for who looks again and again.
type Overview struct {
	Time        time.Time   `json:"time"`
	Status      Status      `json:"status"`
	Routes      []Route     `json:"routes"`
	Workers     []Pool      `json:"workers"`
	Plugins     []Plugin    `json:"plugins"`
	Stores      []Store     `json:"stores"`
	Services    []Service   `json:"services"`
	Connections Connections `json:"connections"`
}

// Route is what became of the requests of one route since the start.
type Route struct {
	Name string `json:"name"`
	// Classes counts answers by the first digit of their status, from 1xx on.
	Classes  [5]uint64 `json:"classes"`
	InFlight int64     `json:"in_flight"`
	// Buckets counts requests by how long they took: up to each of Bounds (in seconds), and one number more for the rest.
	Buckets []uint64      `json:"buckets"`
	Bounds  []float64     `json:"bounds"`
	Time    time.Duration `json:"time_ns"`
}

// Store is one store of the kv section.
type Store struct {
	Name   string `json:"name"`
	Driver string `json:"driver"`
	Keys   int    `json:"keys"`
	Bytes  int64  `json:"bytes"`
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
}

// Connections are those of clients, by listener, and of WebSocket applications.
type Connections struct {
	Listeners  []Listener `json:"listeners"`
	WebSockets []Space    `json:"websockets"`
	RPC        int        `json:"rpc"`
}

// Listener is one socket that accepts clients.
type Listener struct {
	Network  string `json:"network"`
	Address  string `json:"address"`
	Open     int    `json:"open"`
	Accepted uint64 `json:"accepted"`
}

// Space is one application of WebSockets.
type Space struct {
	Name      string `json:"name"`
	Open      int    `json:"open"`
	Channels  int    `json:"channels"`
	Delivered uint64 `json:"delivered"`
}

// Service is a program that runs beside the server.
type Service struct {
	Name      string           `json:"name"`
	Command   string           `json:"command"`
	Created   bool             `json:"created"` // by RPC
	Restarts  uint64           `json:"restarts"`
	Failures  uint64           `json:"failures"`
	Processes []ServiceProcess `json:"processes"`
}

// ServiceProcess is one of its processes; PID is 0 while none runs, and then Problem says why.
type ServiceProcess struct {
	PID     int           `json:"pid"`
	Problem string        `json:"problem,omitempty"`
	Age     time.Duration `json:"age_ns"`
	Memory  int64         `json:"memory"`
}

func viewRoutes(mux *http.ServeMux, v Views) {
	view(mux, "GET /overview", v.Overview)
	view(mux, "GET /routes", v.Routes)
	view(mux, "GET /stores", v.Stores)
	view(mux, "GET /connections", v.Connections)
	view(mux, "GET /services", v.Services)
	if v.Config != nil {
		mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
			text, err := v.Config()
			if err != nil {
				answerError(w, http.StatusInternalServerError, err)
				return
			}
			answer(w, http.StatusOK, json.RawMessage(text))
		})
	}
	if v.Drain != nil {
		drain := func(on bool) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { v.Drain(on); answer(w, http.StatusOK, struct{}{}) }
		}
		mux.HandleFunc("POST /drain", drain(true))
		mux.HandleFunc("DELETE /drain", drain(false))
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

func view[T any](mux *http.ServeMux, pattern string, f func() T) {
	if f != nil {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, f()) })
	}
}

// Overview asks for everything at one moment.
func (c *Client) Overview(ctx context.Context) (o Overview, err error) {
	return o, c.do(ctx, http.MethodGet, "/overview", &o)
}

// OverviewJSON is Overview as the server wrote it.
func (c *Client) OverviewJSON(ctx context.Context) (text json.RawMessage, err error) {
	return text, c.do(ctx, http.MethodGet, "/overview", &text)
}

// Services asks for the programs that run beside the server.
func (c *Client) Services(ctx context.Context) (s []Service, err error) {
	return s, c.do(ctx, http.MethodGet, "/services", &s)
}

// Config asks for the configuration in force, as JSON without secrets.
func (c *Client) Config(ctx context.Context) (text json.RawMessage, err error) {
	return text, c.do(ctx, http.MethodGet, "/config", &text)
}

// Drain makes the server say that it is not ready, so that load balancers send nothing new; it serves on. With on false it is
// ready again.
func (c *Client) Drain(ctx context.Context, on bool) error {
	method := http.MethodPost
	if !on {
		method = http.MethodDelete
	}
	return c.do(ctx, method, "/drain", &struct{}{})
}
