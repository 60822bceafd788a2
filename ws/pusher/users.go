package pusher

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/edge-server/edge/ws"
)

// Who is online is known by channels that clients cannot name: the connections of a user are members of #online-ID, and those
// who watch the user are subscribed to it.
const onlinePrefix = "#online-"

func isOnlineChannel(name string) bool { return strings.HasPrefix(name, onlinePrefix) }

const (
	statusOnline  = "online"
	statusOffline = "offline"
)

func onlineFrame(status string, ids ...string) *ws.Prepared {
	data := appendStatus([]byte(`{"events":[`), status, ids)
	return ws.Prepare(ws.Text, appendEvent(nil, eventWatchlist, "", append(data, "]}"...)))
}

func appendStatus(dst []byte, status string, ids []string) []byte {
	dst = appendText(append(dst, `{"name":`...), status)
	dst = append(dst, `,"user_ids":[`...)
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, id)
	}
	return append(dst, "]}"...)
}

// signin lets the back end say who is behind a connection.
func (a *app) signin(c *ws.Conn, s *session, data []byte) {
	var auth, userData string
	if err := fields(data, map[string]*string{"auth": &auth, "user_data": &userData}); err != nil {
		a.fail(c, problem{codeBadMessage, "Invalid message format: " + eventSignin + " needs data with auth and user_data: " + err.Error()})
		return
	}
	u, watch, err := a.checkUser(c, auth, userData)
	switch {
	case err != nil:
		a.fail(c, problem{codeUnauthorized, "Not allowed to sign in: " + err.Error()})
		return
	case s.user != nil && s.user.id != u.id:
		a.fail(c, problem{codeUnauthorized, "Not allowed to sign in: this connection has signed in as another user"})
		return
	case !c.SetUser(u.id):
		a.fail(c, problem{codeUnauthorized, "Not allowed to sign in: this user has as many connections as allowed"})
		return
	}
	again := s.user != nil
	s.user = &u
	s.known.Store(true)
	success := append(appendText([]byte(`{"user_data":`), userData), '}')
	send(c, appendEvent(nil, eventSigninSuccess, "", success))
	if !again {
		a.stats.signedIn.Add(1)
		a.watch(c, s, watch)
	}
}

// checkUser returns who signs in, and whom that user watches.
func (a *app) checkUser(c *ws.Conn, auth, userData string) (u user, watch []string, err error) {
	limits := &a.cfg().Limits
	if err := a.signs().checkUser(auth, socketID(c.ID()), userData); err != nil {
		return u, nil, err
	}
	if u, err = parseMember([]byte(userData), "id"); err != nil {
		return u, nil, fmt.Errorf("user_data: %w", err)
	}
	u.info = bytes.Clone(u.info)
	watch, size, err := parseWatchlist([]byte(userData))
	switch {
	case err != nil:
		return u, nil, fmt.Errorf("user_data: %w", err)
	case utf8.RuneCountInString(u.id) > limits.UserID:
		return u, nil, fmt.Errorf("the id of the user is longer than %d characters", limits.UserID)
	case len(userData)-size > int(limits.MemberData):
		return u, nil, fmt.Errorf("user_data is larger than %s", limits.MemberData)
	}
	return u, watch, nil
}

// parseWatchlist reads the ids in "watchlist", and says how long it is as it is written.
func parseWatchlist(data []byte) (ids []string, size int, err error) {
	s := scanner{b: data}
	err = s.object(maxDepth, func(key []byte) error {
		if unquote(key) != "watchlist" {
			return s.value(maxDepth - 1)
		}
		raw, err := s.raw(maxDepth - 1)
		if err != nil || string(raw) == "null" {
			return err
		}
		size, ids = len(raw), nil
		list := scanner{b: raw}
		if raw[0] != '[' {
			return fmt.Errorf("watchlist is not a list of ids")
		}
		return list.array(maxDepth, func() error {
			id, err := list.idField("an id of watchlist")
			if id != "" {
				ids = append(ids, id)
			}
			return err
		})
	})
	return ids, size, err
}

// watch makes the connection's user known to those who watch it, and tells it about those whom it watches.
func (a *app) watch(c *ws.Conn, s *session, ids []string) {
	if !a.cfg().Watchlist {
		return
	}
	ctx, cancel := a.brokerContext()
	defer cancel()
	// Errors of the broker are counted by the hub; what is missing then is news about others.
	_, _ = a.space.Subscribe(ctx, c, onlinePrefix+s.user.id, ws.SubscribeOptions{
		Member: &ws.Member{ID: s.user.id, Farewell: onlineFrame(statusOffline, s.user.id)}, Announce: onlineFrame(statusOnline, s.user.id),
	})
	ids = distinct(ids)
	if most := a.cfg().Limits.Watchlist; len(ids) > most {
		ids = ids[:most]
		a.fail(c, problem{codeWatchlistTooLong, fmt.Sprintf("The watchlist has more than %d users; these are watched: %s", most, strings.Join(ids, ", "))})
	}
	if len(ids) == 0 {
		return
	}
	data := []byte(`{"events":[`)
	online, offline := a.statusOf(ctx, c, s, ids)
	if len(online) > 0 {
		data = appendStatus(data, statusOnline, online)
	}
	if len(offline) > 0 {
		if len(online) > 0 {
			data = append(data, ',')
		}
		data = appendStatus(data, statusOffline, offline)
	}
	send(c, appendEvent(nil, eventWatchlist, "", append(data, "]}"...)))
}

// statusOf begins to watch users, then looks who of them is there.
func (a *app) statusOf(ctx context.Context, c *ws.Conn, s *session, ids []string) (online, offline []string) {
	for _, id := range ids {
		if id != s.user.id { // whose channel the connection is subscribed to already
			_, _ = a.space.Subscribe(ctx, c, onlinePrefix+id, ws.SubscribeOptions{})
		}
		members, _ := a.space.Members(ctx, onlinePrefix+id)
		if len(members) > 0 {
			online = append(online, id)
		} else {
			offline = append(offline, id)
		}
	}
	return online, offline
}

func distinct(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	return slices.DeleteFunc(ids, func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}

// terminate closes the connections of a user on all nodes.
func (a *app) terminate(ctx context.Context, userID string) error {
	return a.space.Tell(ctx, ws.Command{
		User: userID, Send: ws.Prepare(ws.Text, appendProblem(nil, errTerminated)),
		Code: ws.CloseCode(errTerminated.code), Reason: errTerminated.text,
	})
}

// patience closes connections that nobody has vouched for when their time is over.
type patience struct {
	app  *app
	wake chan struct{} // holds one

	mu      sync.Mutex // guards waiting
	waiting []newcomer // who is due first comes first
}

type newcomer struct {
	id  ws.ConnID
	due time.Time
}

func newPatience(a *app) *patience { return &patience{app: a, wake: make(chan struct{}, 1)} }

func (p *patience) add(id ws.ConnID, due time.Time) {
	p.mu.Lock()
	i := len(p.waiting)
	for i > 0 && due.Before(p.waiting[i-1].due) { // a reload has shortened the time
		i--
	}
	p.waiting = slices.Insert(p.waiting, i, newcomer{id, due})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (p *patience) run(ctx context.Context) {
	for {
		pause := p.closeDue(time.Now())
		timer := time.NewTimer(pause)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// closeDue closes whose time is over, and says when the next one's is.
func (p *patience) closeDue(now time.Time) time.Duration {
	for {
		p.mu.Lock()
		if len(p.waiting) == 0 {
			p.waiting = nil
			p.mu.Unlock()
			return time.Hour
		}
		first := p.waiting[0]
		if left := first.due.Sub(now); left > 0 {
			p.mu.Unlock()
			return left
		}
		p.waiting = p.waiting[1:]
		p.mu.Unlock()
		c := p.app.space.Conn(first.id)
		if c == nil {
			continue
		}
		if s, ok := c.Data.(*session); ok && !s.known.Load() {
			closeWith(c, errNotSignedIn)
		}
	}
}
