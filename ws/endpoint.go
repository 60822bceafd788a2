package ws

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
)

// EndpointConfig is what an Endpoint needs.
type EndpointConfig struct {
	Space    *Space
	Protocol Protocol
	Limits   Limits // begin with DefaultLimits
	Logger   *slog.Logger

	// Origins are the origins whose pages may connect: "*" is any, "https://example.com" that one, "https://*.example.com" and
	// "*.example.com" those below. Pages of the same host may always connect. Clients that are no browsers send no Origin and are let in.
	Origins []string

	// Subprotocols that are spoken, the preferred first. The client's offer is compared with them before Accept, which may choose itself.
	Subprotocols []string

	// Message is what messages may be as large as, where that is more than Limits.Message. It may change while connections are there. Nil: nothing.
	Message *atomic.Int64

	// Ping makes what is sent to a client that is silent, in place of the ping of WebSocket. Nil: that one.
	Ping func(*Conn) *Prepared

	// LostCode and LostReason close a connection whose client has not answered a ping. Default 1001 and "no answer to a ping".
	LostCode   CloseCode
	LostReason string

	// RestartCode and RestartReason close connections when the server stops. Default 1012 and "the server restarts".
	RestartCode   CloseCode
	RestartReason string
}

// Endpoint is where clients connect. It is an http.Handler, and cheap: a configuration that is reloaded makes new ones, connections keep theirs.
type Endpoint struct {
	hub      *Hub
	space    *Space
	protocol Protocol
	limits   Limits
	message  *atomic.Int64
	log      *slog.Logger

	origins      []originPattern
	subprotocols []string
	ping         func(*Conn) *Prepared
	lost         closing
	restart      closing
}

// maxMessage is how large messages may be now.
func (e *Endpoint) maxMessage() int64 {
	limit := int64(e.limits.Message)
	if e.message != nil {
		limit = max(limit, e.message.Load())
	}
	return limit
}

type closing struct {
	code   CloseCode
	reason string
}

// NewEndpoint checks the configuration.
func NewEndpoint(cfg EndpointConfig) (*Endpoint, error) {
	if err := cfg.Limits.Validate(); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	e := &Endpoint{
		hub: cfg.Space.hub, space: cfg.Space, protocol: cfg.Protocol, limits: cfg.Limits, message: cfg.Message, log: cfg.Logger, ping: cfg.Ping,
		subprotocols: cfg.Subprotocols,
		lost:         closing{CloseGoingAway, "no answer to a ping"},
		restart:      closing{CloseRestart, "the server restarts"},
	}
	if cfg.LostCode != 0 {
		e.lost = closing{cfg.LostCode, cfg.LostReason}
	}
	if cfg.RestartCode != 0 {
		e.restart = closing{cfg.RestartCode, cfg.RestartReason}
	}
	var err error
	e.origins, err = parseOrigins(cfg.Origins)
	return e, err
}

// CheckOrigins says what NewEndpoint would of EndpointConfig.Origins.
func CheckOrigins(origins []string) error {
	_, err := parseOrigins(origins)
	return err
}

func parseOrigins(origins []string) ([]originPattern, error) {
	var list []originPattern
	var errs []error
	for i, text := range origins {
		p, err := parseOrigin(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("origins[%d]: %w", i, err))
		}
		list = append(list, p)
	}
	return list, errors.Join(errs...)
}

var _ http.Handler = (*Endpoint)(nil)
