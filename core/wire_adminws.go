package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/pusher"
	"github.com/edge-server/edge/ws/raw"
)

// adminSockets shows the WebSockets to `edge ws`.
type adminSockets struct{ edge *Edge }

var _ admin.Sockets = adminSockets{}

func badRequest(format string, args ...any) error {
	return &admin.KVError{Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

// spaces are those of all applications, by name.
func (a adminSockets) spaces() []*ws.Space {
	if a.edge.hub == nil {
		return nil
	}
	all := slices.DeleteFunc(a.edge.hub.Spaces(), func(s *ws.Space) bool { return s.Name() == pusher.Lobby })
	slices.SortFunc(all, func(x, y *ws.Space) int { return cmp.Compare(x.Name(), y.Name()) })
	return all
}

// name is what edge.yaml calls an application: a space of Pusher has the id of its app, since events are signed for that.
func (a adminSockets) name(s *ws.Space) string {
	if a.edge.pusher != nil {
		if name, ok := a.edge.pusher.AppOf(s); ok {
			return "pusher/" + name
		}
	}
	return s.Name()
}

// chosen are the spaces that a name means: all for an empty one, else exactly one.
func (a adminSockets) chosen(app string) ([]*ws.Space, error) {
	all := a.spaces()
	if app == "" {
		return all, nil
	}
	var found []*ws.Space
	names := []string{}
	for _, s := range all {
		name := a.name(s)
		_, short, _ := strings.Cut(name, "/")
		if name == app || s.Name() == app {
			return []*ws.Space{s}, nil
		}
		if short == app {
			found = append(found, s)
		}
		names = append(names, name)
	}
	switch {
	case len(all) == 0:
		return nil, badRequest("no application is called %q: edge.yaml has none in its ws section", app)
	case len(found) == 0:
		return nil, badRequest("no application is called %q; there are: %s", app, strings.Join(names, ", "))
	case len(found) > 1:
		return nil, badRequest("%q could be %s or %s: say which", app, a.name(found[0]), a.name(found[1]))
	}
	return found, nil
}

// one is the space that a name means, which may be left out when there is only one.
func (a adminSockets) one(app string) (*ws.Space, error) {
	found, err := a.chosen(app)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, badRequest("edge.yaml has no application in its ws section")
	case len(found) > 1:
		return nil, badRequest("there are several applications, such as %s and %s: say which", a.name(found[0]), a.name(found[1]))
	}
	return found[0], nil
}

// fleet reports whether there may be other nodes.
func (a adminSockets) fleet() bool { return a.edge.hub.Patience() > 0 }

// Apps implements admin.Sockets.
func (a adminSockets) Apps() []admin.WSApp {
	list := []admin.WSApp{}
	for _, space := range a.spaces() {
		s := space.Stats()
		list = append(list, admin.WSApp{
			Name: a.name(space), Connections: s.Connections, Channels: s.Channels, Queued: s.Queued, Opened: s.Opened, Received: s.Received,
			Published: s.Published, Delivered: s.Delivered, Dropped: s.Dropped,
		})
	}
	return list
}

// Connections implements admin.Sockets. Only those that are shown are described: there may be a hundred thousand.
func (a adminSockets) Connections(app, user, channel string, limit int) (list admin.WSConnections, err error) {
	spaces, err := a.chosen(app)
	if err != nil {
		return list, err
	}
	var found []*ws.Conn
	for _, space := range spaces {
		conns := space.Conns()
		if user != "" {
			conns = space.UserConns(user)
		}
		if channel != "" {
			conns = slices.DeleteFunc(conns, func(c *ws.Conn) bool { _, in := c.Subscribed(channel); return !in })
		}
		found = append(found, conns...)
	}
	slices.SortFunc(found, func(x, y *ws.Conn) int {
		return cmp.Or(x.Opened().Compare(y.Opened()), cmp.Compare(x.ID(), y.ID()))
	})
	list = admin.WSConnections{Connections: []admin.WSConnection{}, Total: len(found)}
	for _, c := range found[:min(limit, len(found))] {
		d := raw.Describe(c)
		slices.Sort(d.Channels)
		list.Connections = append(list.Connections, admin.WSConnection{
			ID: d.ID, App: a.name(c.Space()), Remote: d.Remote, User: d.User, Opened: d.Opened, Subprotocol: d.Subprotocol, Channels: d.Channels,
			Attributes: d.Attributes, Queued: c.Queued(), Dropped: d.Dropped,
		})
	}
	return list, nil
}

// Channels implements admin.Sockets.
func (a adminSockets) Channels(ctx context.Context, app, prefix string) ([]admin.WSChannel, error) {
	spaces, err := a.chosen(app)
	if err != nil {
		return nil, err
	}
	list := []admin.WSChannel{}
	for _, space := range spaces {
		channels, err := space.Channels(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for _, c := range channels {
			list = append(list, admin.WSChannel{App: a.name(space), Name: c.Name, Subscribers: c.Subscribers, Members: c.Users})
		}
	}
	slices.SortFunc(list, func(x, y admin.WSChannel) int { return cmp.Or(cmp.Compare(x.App, y.App), cmp.Compare(x.Name, y.Name)) })
	return list, nil
}

// Send implements admin.Sockets.
func (a adminSockets) Send(ctx context.Context, app string, to admin.WSTarget, binary bool, message []byte) (done admin.WSDone, err error) {
	space, err := a.one(app)
	if err != nil {
		return done, err
	}
	kind := ws.Text
	if binary {
		kind = ws.Binary
	}
	m := ws.Prepare(kind, message)
	done.Fleet = a.fleet()
	if to.Channel != "" {
		if err := raw.ValidChannel(to.Channel); err != nil {
			return done, badRequest("%w", err)
		}
		done.Connections = a.edge.hub.Subscribers(ws.Address{Space: space.Name(), Channel: to.Channel})
		_, err := space.Publish(ctx, to.Channel, m, ws.PublishOptions{})
		return done, err
	}
	return a.tell(ctx, space, to, ws.Command{Send: m})
}

// Kick implements admin.Sockets.
func (a adminSockets) Kick(ctx context.Context, app string, to admin.WSTarget, code int, reason string) (done admin.WSDone, err error) {
	space, err := a.one(app)
	if err != nil {
		return done, err
	}
	if err := CheckCloseCode(code); err != nil {
		return done, badRequest("%w", err)
	}
	return a.tell(ctx, space, to, ws.Command{Code: ws.CloseCode(code), Reason: reason})
}

// tell has connections do something. One that is named must be there, on this node or another.
func (a adminSockets) tell(ctx context.Context, space *ws.Space, to admin.WSTarget, do ws.Command) (done admin.WSDone, err error) {
	done.Fleet = a.fleet()
	switch {
	case to.User != "":
		do.User, done.Connections = to.User, len(space.UserConns(to.User))
	case to.All:
		do.All, done.Connections = true, space.Len()
	default:
		if do.Conn, err = ws.ParseConnID(to.Conn); err != nil {
			return done, badRequest("%q is no connection: its ID is 16 hexadecimal digits, as `edge ws ls` shows them", to.Conn)
		}
		switch err := space.TellOne(ctx, do); {
		case err == nil:
			return admin.WSDone{Connections: 1}, nil
		case !errors.Is(err, ws.ErrClosed):
			return done, err
		default:
			return done, &admin.KVError{Status: http.StatusGone, Err: fmt.Errorf("%s has no connection %s: it has gone, or belongs to another application", a.name(space), to.Conn)}
		}
	}
	return done, space.Tell(ctx, do)
}
