package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/edge-server/edge/rpc"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/raw"
)

// rawRequest is the argument of the methods of the RPC service ws.
type rawRequest struct {
	App     string `json:"app"` // may be left out when there is only one
	Conn    string `json:"conn"`
	User    string `json:"user"`
	Channel string `json:"channel"`
	Data    string `json:"data"`   // text
	Binary  []byte `json:"binary"` // in base64, instead of data
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Except  string `json:"except"` // a connection that does not get what is published

	Keep    int     `json:"keep"`     // how many of a channel's publications are remembered, with this one
	KeepFor float64 `json:"keep_for"` // seconds; 0: as long as the broker runs
	Limit   int     `json:"limit"`    // of the history: the latest so many

	Member string `json:"member"` // as whom a subscriber is in the channel
	Info   string `json:"info"`   // what others may know of the member

	Attributes map[string]string `json:"attributes"` // to set; an empty value takes one away
}

// maxRawKeep bounds a history. Workers are the application itself: this catches mistakes.
const maxRawKeep = 10_000

func (r *rawRequest) message() (*ws.Prepared, error) {
	switch {
	case r.Binary != nil: // "" is an empty message of bytes
		return ws.Prepare(ws.Binary, r.Binary), nil
	case !utf8.ValidString(r.Data):
		return nil, errors.New("data: a text message must be UTF-8; use binary")
	}
	return ws.PrepareText(r.Data), nil
}

func (r *rawRequest) closing() (ws.CloseCode, error) {
	if r.Code == 0 {
		return ws.CloseNormal, nil
	}
	return ws.CloseCode(r.Code), CheckCloseCode(r.Code)
}

// CheckCloseCode says why a connection cannot be closed with the code.
func CheckCloseCode(code int) error {
	if !sendableCode(code) {
		return fmt.Errorf("code: %s, got %d", sendableCodes, code)
	}
	return nil
}

// sendableCode reports whether a close frame may carry the code (RFC 6455, 7.4): clients take others for a broken server.
func sendableCode(code int) bool {
	return code >= 1000 && code <= 1003 && code != 1002 || code >= 1007 && code <= 1013 || code >= 3000 && code <= 4999
}

const sendableCodes = "must be 1000, 1001, 1003, 1007 to 1013 or 3000 to 4999"

// rawCalls are the methods by which PHP reaches the connections of ws.raw.
type rawCalls struct{ edge *Edge }

// rawService is the RPC service ws.
func (e *Edge) rawService() rpc.Methods {
	c := rawCalls{e}
	return rpc.Methods{
		"Send": c.method(c.send), "Publish": c.method(c.publish), "Close": c.method(c.close),
		"Subscribe": c.order((*rawRequest).subscribe), "Unsubscribe": c.order((*rawRequest).unsubscribe), "Set": c.order((*rawRequest).set),
		"Connections": c.method(c.connections), "Connection": rpc.Func(c.connection),
		"Channels": c.method(c.channels), "History": c.method(c.history), "Members": c.method(c.members),
	}
}

func (c rawCalls) app(name string) (*raw.App, error) {
	apps := c.edge.world.Load().raw
	if name == "" && len(apps) == 1 {
		for _, app := range apps {
			return app, nil
		}
	}
	if app := apps[name]; app != nil {
		return app, nil
	}
	return nil, fmt.Errorf("app: there is no %q in ws.raw, which has %s", name, countNames(slices.Sorted(maps.Keys(apps))))
}

func (c rawCalls) method(f func(context.Context, *ws.Space, *rawRequest) (any, error)) rpc.Method {
	return rpc.Func(func(ctx context.Context, r rawRequest) (any, error) {
		app, err := c.app(r.App)
		if err != nil {
			return nil, err
		}
		return f(ctx, app.Space(), &r)
	})
}

// order is for what is done with one connection, on whichever node it is. One that has gone is no mistake of the caller: the answer is false.
func (c rawCalls) order(of func(*rawRequest) raw.Order) rpc.Method {
	return rpc.Func(func(ctx context.Context, r rawRequest) (any, error) {
		app, err := c.app(r.App)
		if err != nil {
			return nil, err
		}
		id, err := ws.ParseConnID(r.Conn)
		if err != nil {
			return nil, fmt.Errorf("conn: %w", err)
		}
		switch d, err := app.Carry(ctx, id, of(&r)); {
		case d != nil:
			return d, err
		case errors.Is(err, raw.ErrGone):
			return false, nil
		case err != nil:
			return nil, err
		}
		return true, nil
	})
}

func (r *rawRequest) subscribe() raw.Order {
	return raw.Order{Subscribe: []raw.Subscription{{Channel: r.Channel, Member: r.Member, Info: r.Info}}}
}

func (r *rawRequest) unsubscribe() raw.Order { return raw.Order{Unsubscribe: []string{r.Channel}} }

func (r *rawRequest) set() raw.Order { return raw.Order{Attributes: r.Attributes} }

// tell has a connection, or all of a user, do something, wherever in the fleet they are.
func (c rawCalls) tell(ctx context.Context, s *ws.Space, r *rawRequest, do ws.Command) (any, error) {
	if r.User != "" {
		do.User = r.User
		return true, s.Tell(ctx, do)
	}
	id, err := ws.ParseConnID(r.Conn)
	if err != nil {
		return nil, fmt.Errorf("conn: %w", err)
	}
	do.Conn = id
	err = s.TellOne(ctx, do)
	if errors.Is(err, ws.ErrClosed) {
		return false, nil
	}
	return err == nil, err
}

func (c rawCalls) send(ctx context.Context, s *ws.Space, r *rawRequest) (any, error) {
	m, err := r.message()
	if err != nil {
		return nil, err
	}
	return c.tell(ctx, s, r, ws.Command{Send: m})
}

func (c rawCalls) close(ctx context.Context, s *ws.Space, r *rawRequest) (any, error) {
	code, err := r.closing()
	if err != nil {
		return nil, err
	}
	return c.tell(ctx, s, r, ws.Command{Code: code, Reason: r.Reason})
}

func (c rawCalls) publish(ctx context.Context, s *ws.Space, r *rawRequest) (any, error) {
	m, err := r.message()
	if err := errors.Join(err, raw.ValidChannel(r.Channel)); err != nil {
		return nil, err
	}
	if r.Keep < 0 || r.Keep > maxRawKeep || r.KeepFor < 0 {
		return nil, fmt.Errorf("keep: must be between 0 and %d, and keep_for not negative; got %d and %g", maxRawKeep, r.Keep, r.KeepFor)
	}
	opts := ws.PublishOptions{Keep: ws.Keep{Size: r.Keep, TTL: time.Duration(r.KeepFor * float64(time.Second))}}
	if r.Except != "" {
		if opts.Except, err = ws.ParseConnID(r.Except); err != nil {
			return nil, fmt.Errorf("except: %w", err)
		}
	}
	_, err = s.Publish(ctx, r.Channel, m, opts)
	return true, err
}

func (c rawCalls) connections(_ context.Context, s *ws.Space, r *rawRequest) (any, error) {
	conns := s.Conns()
	if r.User != "" {
		conns = s.UserConns(r.User)
	}
	list := []raw.Description{}
	for _, conn := range conns {
		list = append(list, raw.Describe(conn))
	}
	return list, nil
}

func (c rawCalls) connection(ctx context.Context, r rawRequest) (any, error) {
	app, err := c.app(r.App)
	if err != nil {
		return nil, err
	}
	id, err := ws.ParseConnID(r.Conn)
	if err != nil {
		return nil, fmt.Errorf("conn: %w", err)
	}
	d, err := app.Carry(ctx, id, raw.Order{Describe: true})
	if err != nil && !errors.Is(err, raw.ErrGone) {
		return nil, err
	}
	if d == nil {
		return nil, nil
	}
	return d, nil
}

// rawChannel is a line of the list of channels.
type rawChannel struct {
	Name        string `json:"name"`
	Subscribers int    `json:"subscribers"`
	Members     int    `json:"members,omitempty"`
}

func (c rawCalls) channels(ctx context.Context, s *ws.Space, r *rawRequest) (any, error) {
	found, err := s.Channels(ctx, r.Channel)
	list := []rawChannel{}
	for _, info := range found {
		list = append(list, rawChannel{info.Name, info.Subscribers, info.Users})
	}
	return list, err
}

// rawMember is a line of the list of members.
type rawMember struct {
	ID   string `json:"id"`
	Info string `json:"info,omitempty"`
}

func (c rawCalls) members(ctx context.Context, s *ws.Space, r *rawRequest) (any, error) {
	found, err := s.Members(ctx, r.Channel)
	list := []rawMember{}
	for _, m := range found {
		list = append(list, rawMember{m.ID, string(m.Info)})
	}
	return list, err
}

// rawPast is a line of the history: a text or, in base64, bytes.
type rawPast struct {
	Data   string `json:"data"`
	Binary []byte `json:"binary,omitempty"`
}

func (c rawCalls) history(ctx context.Context, s *ws.Space, r *rawRequest) (any, error) {
	past, err := s.History(ctx, r.Channel, ws.Position{}, r.Limit)
	list := []rawPast{}
	for _, p := range past.Publications {
		if p.Message.Kind() == ws.Binary {
			list = append(list, rawPast{Binary: p.Message.Payload()})
			continue
		}
		list = append(list, rawPast{Data: string(p.Message.Payload())})
	}
	return list, err
}
