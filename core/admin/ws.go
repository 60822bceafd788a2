package admin

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"
)

// The connections of the ws section, for `edge ws`. APP is the name of an application as edge.yaml has it, chat, or with what it speaks, raw/chat.
//
//	GET  /ws                                                     the applications                    []WSApp
//	GET  /ws/connections?app=&user=&channel=&limit=              those of this node, oldest first    WSConnections
//	GET  /ws/channels?app=&prefix=                               those of all nodes, by name         []WSChannel
//	POST /ws/send?app=&conn=|user=|channel=|all=true&binary=     sends the body                      WSDone
//	POST /ws/kick?app=&conn=|user=|all=true&code=&reason=        closes connections                  WSDone

// Sockets is what the API needs of the WebSockets. Errors may be a *KVError; others are the server's fault.
type Sockets interface {
	Apps() []WSApp
	Connections(app, user, channel string, limit int) (WSConnections, error)
	Channels(ctx context.Context, app, prefix string) ([]WSChannel, error)
	Send(ctx context.Context, app string, to WSTarget, binary bool, message []byte) (WSDone, error)
	Kick(ctx context.Context, app string, to WSTarget, code int, reason string) (WSDone, error)
}

// WSApp is an application and what it does on this node.
type WSApp struct {
	Name        string `json:"name"` // raw/chat, pusher/main
	Connections int    `json:"connections"`
	Channels    int    `json:"channels"`
	Queued      int    `json:"queued"`
	Opened      uint64 `json:"opened"`
	Received    uint64 `json:"received"`
	Published   uint64 `json:"published"`
	Delivered   uint64 `json:"delivered"`
	Dropped     uint64 `json:"dropped"`
}

// WSConnections are connections, and how many there are in all.
type WSConnections struct {
	Connections []WSConnection `json:"connections"`
	Total       int            `json:"total"`
}

// WSConnection is a connection.
type WSConnection struct {
	ID          string            `json:"id"`
	App         string            `json:"app"`
	Remote      string            `json:"remote"`
	User        string            `json:"user,omitempty"`
	Opened      time.Time         `json:"opened"`
	Subprotocol string            `json:"subprotocol,omitempty"`
	Channels    []string          `json:"channels,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Queued      int               `json:"queued,omitempty"`
	Dropped     int               `json:"dropped,omitempty"`
}

// WSChannel is a channel that has subscribers.
type WSChannel struct {
	App         string `json:"app"`
	Name        string `json:"name"`
	Subscribers int    `json:"subscribers"`
	Members     int    `json:"members,omitempty"`
}

// WSTarget says whom something concerns: one of them.
type WSTarget struct {
	Conn    string
	User    string
	Channel string // for Send
	All     bool
}

// WSDone is what became of a message or a kick.
type WSDone struct {
	// Connections of this node that it concerned. With several nodes others did the same with theirs.
	Connections int `json:"connections"`

	// Fleet says that there may be others on other nodes.
	Fleet bool `json:"fleet,omitempty"`
}

const (
	maxWSMessage     = 16 << 20
	wsConnectionPage = 1000
)

func wsRoutes(mux *http.ServeMux, sockets Sockets) {
	if sockets == nil {
		return
	}
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, sockets.Apps()) })
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, url.Values) (any, error){
		"GET /ws/connections": func(_ http.ResponseWriter, _ *http.Request, q url.Values) (any, error) {
			limit, err := wsNumber(q, "limit", wsConnectionPage, 1, 1_000_000)
			if err != nil {
				return nil, err
			}
			return sockets.Connections(q.Get("app"), q.Get("user"), q.Get("channel"), limit)
		},
		"GET /ws/channels": func(_ http.ResponseWriter, r *http.Request, q url.Values) (any, error) {
			return sockets.Channels(r.Context(), q.Get("app"), q.Get("prefix"))
		},
		"POST /ws/send": func(w http.ResponseWriter, r *http.Request, q url.Values) (any, error) {
			return wsSend(w, r, q, sockets)
		},
		"POST /ws/kick": func(_ http.ResponseWriter, r *http.Request, q url.Values) (any, error) {
			to, err := wsTarget(q, "conn", "user", "all")
			if err != nil {
				return nil, err
			}
			code, err := wsNumber(q, "code", 1000, 0, 65535)
			if err != nil {
				return nil, err
			}
			return sockets.Kick(r.Context(), q.Get("app"), to, code, q.Get("reason"))
		},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			result, err := handle(w, r, r.URL.Query())
			if err != nil {
				answerError(w, kvStatus(err), err)
				return
			}
			answer(w, http.StatusOK, result)
		})
	}
}

func wsSend(w http.ResponseWriter, r *http.Request, q url.Values, sockets Sockets) (any, error) {
	to, err := wsTarget(q, "conn", "user", "channel", "all")
	if err != nil {
		return nil, err
	}
	message, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWSMessage))
	if err != nil {
		return nil, wrong("read the message: %w", err)
	}
	binary := q.Get("binary") == "true"
	if !binary && !utf8.Valid(message) {
		return nil, wrong("a text message must be UTF-8; send it as binary")
	}
	return sockets.Send(r.Context(), q.Get("app"), to, binary, message)
}

// wsTarget reads whom it concerns: exactly one of the names.
func wsTarget(q url.Values, names ...string) (to WSTarget, err error) {
	said := 0
	for _, name := range names {
		if q.Get(name) != "" && !(name == "all" && q.Get("all") != "true") {
			said++
		}
	}
	if said != 1 {
		return to, wrong("say to whom, by exactly one of %s", names)
	}
	return WSTarget{Conn: q.Get("conn"), User: q.Get("user"), Channel: q.Get("channel"), All: q.Get("all") == "true"}, nil
}

func wsNumber(q url.Values, name string, otherwise, least, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, wrong("%s: must be between %d and %d, got %q", name, least, most, text)
	}
	return n, nil
}

// WSApps asks for the applications of ws.
func (c *Client) WSApps(ctx context.Context) (list []WSApp, err error) {
	return list, c.ws(ctx, http.MethodGet, "", nil, nil, &list)
}

// WSConnections asks for connections; empty arguments are all.
func (c *Client) WSConnections(ctx context.Context, app, user, channel string, limit int) (list WSConnections, err error) {
	q := url.Values{"app": {app}, "user": {user}, "channel": {channel}, "limit": {strconv.Itoa(limit)}}
	return list, c.ws(ctx, http.MethodGet, "/connections", q, nil, &list)
}

// WSChannels asks for channels with subscribers.
func (c *Client) WSChannels(ctx context.Context, app, prefix string) (list []WSChannel, err error) {
	return list, c.ws(ctx, http.MethodGet, "/channels", url.Values{"app": {app}, "prefix": {prefix}}, nil, &list)
}

// WSSend sends a message.
func (c *Client) WSSend(ctx context.Context, app string, to WSTarget, binary bool, message io.Reader) (done WSDone, err error) {
	q := to.query(app)
	q.Set("binary", strconv.FormatBool(binary))
	return done, c.ws(ctx, http.MethodPost, "/send", q, message, &done)
}

// WSKick closes connections.
func (c *Client) WSKick(ctx context.Context, app string, to WSTarget, code int, reason string) (done WSDone, err error) {
	q := to.query(app)
	q.Set("code", strconv.Itoa(code))
	q.Set("reason", reason)
	return done, c.ws(ctx, http.MethodPost, "/kick", q, nil, &done)
}

func (t WSTarget) query(app string) url.Values {
	return url.Values{"app": {app}, "conn": {t.Conn}, "user": {t.User}, "channel": {t.Channel}, "all": {strconv.FormatBool(t.All)}}
}

func (c *Client) ws(ctx context.Context, method, path string, q url.Values, body io.Reader, into any) error {
	ctx, cancel := context.WithTimeout(ctx, wsPatience)
	defer cancel()
	return c.ask(ctx, method, "/ws"+path+"?"+q.Encode(), body, into)
}

// wsPatience is how long the server may take, and with it the other nodes.
const wsPatience = 30 * time.Second

// NoConnection reports that an error says that the connection that was named is not there, or has gone.
func NoConnection(err error) bool { return hasStatus(err, http.StatusGone) }
