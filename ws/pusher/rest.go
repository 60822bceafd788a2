package pusher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/jsonproblem"
	"github.com/edge-server/edge/ws"
)

// patienceForCall is how long one call of the HTTP API may take.
const patienceForCall = 10 * time.Second

// serveAPI answers /apps/ID/…; rest is the path behind /apps/.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, rest string) {
	id, call, _ := strings.Cut(rest, "/")
	a := s.section.Load().byID[id]
	if a == nil {
		writeError(w, apiErrorf(http.StatusNotFound, "there is no app %q", id))
		return
	}
	a.stats.calls.Add(1)
	ctx, cancel := context.WithTimeout(r.Context(), patienceForCall)
	defer cancel()
	answer, err := a.serveCall(ctx, w, r, call)
	if err != nil {
		a.stats.callsFailed.Add(1)
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable // what is not the caller's fault is the broker's
	var known *apiError
	if errors.As(err, &known) {
		status = known.status
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, err.Error(), status)
}

// serveCall authenticates, then does what the path says.
func (a *app) serveCall(ctx context.Context, w http.ResponseWriter, r *http.Request, call string) ([]byte, error) {
	body, err := readBody(w, r, int64(a.cfg().Limits.Request))
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, apiErrorf(400, "the query: %v", err)
	}
	if err := a.signs().checkRequest(r.Method, a.server.signedPaths(r.URL), query, body, time.Now()); err != nil {
		return nil, apiErrorf(401, "%v", err)
	}
	if !a.cfg().Enabled {
		return nil, apiErrorf(403, "the app is disabled")
	}
	allow := methodsOf(call)
	switch {
	case allow == "":
		return nil, apiErrorf(404, "there is no %s %s", r.Method, call)
	case !slices.Contains(strings.Split(allow, ", "), r.Method):
		w.Header().Set("Allow", allow)
		return nil, apiErrorf(405, "there is no %s %s: it has %s", r.Method, call, allow)
	case r.Method == http.MethodPost:
		return a.serveWrite(ctx, call, body)
	}
	if !a.reads.take(1, time.Now()) {
		return nil, apiErrorf(429, "the app asks more than the %d times a second that limits.reads allows", a.cfg().Limits.Reads)
	}
	return a.serveRead(ctx, call, query)
}

// methodsOf are the methods of a call, none if there is no such call.
func methodsOf(call string) string {
	first, rest, deep := strings.Cut(call, "/")
	switch {
	case !deep && (first == "events" || first == "batch_events"):
		return "POST"
	case first == "users" && userOf(rest) != "":
		return "POST"
	case !deep && first == "connections", first == "channels" && (!deep || rest != ""):
		return "GET, HEAD"
	}
	return ""
}

// userOf is the user of ID/terminate_connections.
func userOf(rest string) string {
	user, ok := strings.CutSuffix(rest, "/terminate_connections")
	if !ok {
		return ""
	}
	return user
}

func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, apiErrorf(413, "the body is larger than the %d bytes that limits.request allows", most)
	case err != nil:
		return nil, apiErrorf(400, "the body cannot be read: %v", err)
	}
	return body, nil
}

// signedPaths are the forms in which a caller may have signed the path: libraries differ in what they escape, and whether they
// know of a prefix.
func (s *Server) signedPaths(u *url.URL) []string {
	paths := []string{u.EscapedPath()}
	if u.Path != paths[0] {
		paths = append(paths, u.Path)
	}
	prefix := s.section.Load().cfg.Path
	for _, p := range slices.Clone(paths) {
		if short, ok := strings.CutPrefix(p, prefix); ok && prefix != "" {
			paths = append(paths, short)
		}
	}
	return paths
}

func (a *app) serveWrite(ctx context.Context, call string, body []byte) ([]byte, error) {
	switch call {
	case "events":
		return a.trigger(ctx, body)
	case "batch_events":
		return a.triggerBatch(ctx, body)
	}
	return []byte("{}"), a.terminate(ctx, userOf(strings.TrimPrefix(call, "users/")))
}

func (a *app) serveRead(ctx context.Context, call string, query url.Values) ([]byte, error) {
	if call == "channels" {
		return a.listChannels(ctx, query.Get("filter_by_prefix"), query.Get("info"))
	}
	if call == "connections" {
		return json.Marshal(map[string]int64{"connections": a.connections.Load()})
	}
	channel := strings.TrimPrefix(call, "channels/")
	if name, users := strings.CutSuffix(channel, "/users"); users {
		return a.listUsers(ctx, name)
	}
	return a.describe(ctx, channel, query.Get("info"))
}

// apiEvent is an event as the API has it.
type apiEvent struct {
	Name     string          `json:"name"`
	Data     json.RawMessage `json:"data"`
	Channel  string          `json:"channel"`
	Channels []string        `json:"channels"`
	SocketID string          `json:"socket_id"`
	Info     string          `json:"info"`
}

func (e *apiEvent) event() (event, error) {
	if len(e.Data) == 0 || string(e.Data) == "null" {
		return event{}, apiErrorf(400, "the event has no data")
	}
	ev := event{name: e.Name, channels: e.Channels, data: textOf(e.Data), socketID: e.SocketID}
	if len(ev.channels) == 0 && e.Channel != "" {
		ev.channels = []string{e.Channel}
	}
	return ev, nil
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return apiErrorf(400, "the body is not what the API reads: %s", jsonproblem.Text(err))
	}
	return nil
}

func (a *app) trigger(ctx context.Context, body []byte) ([]byte, error) {
	var in apiEvent
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	return a.triggerOne(ctx, &in)
}

func (a *app) triggerOne(ctx context.Context, in *apiEvent) ([]byte, error) {
	ev, err := in.event()
	if err != nil {
		return nil, err
	}
	wanted, err := parseInfo(in.Info, "user_count", "subscription_count")
	if err != nil {
		return nil, err
	}
	if err := a.publish(ctx, []event{ev}); err != nil || len(wanted) == 0 {
		return []byte("{}"), err
	}
	channels := map[string]any{}
	for _, name := range ev.channels {
		if channels[name], err = a.attributes(ctx, name, wanted, true); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]any{"channels": channels})
}

func (a *app) triggerBatch(ctx context.Context, body []byte) ([]byte, error) {
	var in struct {
		Batch []apiEvent `json:"batch"`
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	return a.triggerAll(ctx, in.Batch)
}

func (a *app) triggerAll(ctx context.Context, batch []apiEvent) ([]byte, error) {
	if n := len(batch); n == 0 || n > a.cfg().Limits.Batch {
		return nil, apiErrorf(400, "the batch has %d events; limits.batch allows 1 to %d", n, a.cfg().Limits.Batch)
	}
	events := make([]event, len(batch))
	infos, any := make([][]string, len(batch)), false
	for i := range batch {
		var err error
		if events[i], err = batch[i].event(); err != nil {
			return nil, err
		}
		if infos[i], err = parseInfo(batch[i].Info, "user_count", "subscription_count"); err != nil {
			return nil, err
		}
		any = any || len(infos[i]) > 0
	}
	if err := a.publish(ctx, events); err != nil || !any {
		return []byte("{}"), err
	}
	return a.batchInfo(ctx, events, infos)
}

func (a *app) batchInfo(ctx context.Context, events []event, infos [][]string) ([]byte, error) {
	list := make([]map[string]any, len(events))
	for i := range events {
		var err error
		if list[i], err = a.attributes(ctx, events[i].channels[0], infos[i], true); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]any{"batch": list})
}

// parseInfo splits a list of attributes, and refuses those that are not there.
func parseInfo(list string, known ...string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	wanted := strings.Split(list, ",")
	for i, name := range wanted {
		wanted[i] = strings.TrimSpace(name)
		if !slices.Contains(known, wanted[i]) {
			return nil, apiErrorf(400, "info: there is no attribute %q here: there are %s", wanted[i], strings.Join(known, ", "))
		}
	}
	return wanted, nil
}

// attributes are what is wanted of a channel. With lenient, what does not apply to it is left out; otherwise it is an error.
func (a *app) attributes(ctx context.Context, channel string, wanted []string, lenient bool) (map[string]any, error) {
	out := map[string]any{}
	if len(wanted) == 0 {
		return out, nil
	}
	info, err := a.space.Channel(ctx, channel)
	if err != nil {
		return nil, err
	}
	return out, a.fill(ctx, out, info, wanted, lenient)
}

func (a *app) fill(ctx context.Context, out map[string]any, info ws.ChannelInfo, wanted []string, lenient bool) error {
	k := kindOf(info.Name)
	for _, name := range wanted {
		switch {
		case name == "user_count" && k.has(kindPresence):
			out[name] = info.Users
		case name == "subscription_count": // of presence channels, too: connections, where user_count are users
			out[name] = info.Subscribers
		case name == "cache" && k.has(kindCache):
			data, ttl, ok, err := a.cached(ctx, info.Name)
			if err != nil {
				return err
			}
			if out[name] = nil; ok {
				out[name] = map[string]any{"data": data, "ttl": int(ttl / time.Second)}
			}
		case !lenient:
			return apiErrorf(400, "info: channel %s has no attribute %s", info.Name, name)
		}
	}
	return nil
}

func (a *app) listChannels(ctx context.Context, prefix, info string) ([]byte, error) {
	wanted, err := parseInfo(info, "user_count", "subscription_count")
	if err != nil {
		return nil, err
	}
	if slices.Contains(wanted, "user_count") && !strings.HasPrefix(prefix, presencePrefix) {
		return nil, apiErrorf(400, "info: user_count needs filter_by_prefix=presence-, since only presence channels have users")
	}
	list, err := a.space.Channels(ctx, prefix)
	if err != nil {
		return nil, err
	}
	channels := map[string]any{}
	for _, c := range list {
		if kindOf(c.Name).has(kindUser) {
			continue // of one user, or of ours
		}
		out := map[string]any{}
		if err := a.fill(ctx, out, c, wanted, true); err != nil {
			return nil, err
		}
		channels[c.Name] = out
	}
	return json.Marshal(map[string]any{"channels": channels})
}

func (a *app) describe(ctx context.Context, channel, info string) ([]byte, error) {
	if !validChannel(channel) {
		return nil, apiErrorf(400, "channel %q: names are made of letters, digits and _-=@,.;", channel)
	}
	wanted, err := parseInfo(info, "user_count", "subscription_count", "cache")
	if err != nil {
		return nil, err
	}
	found, err := a.space.Channel(ctx, channel)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"occupied": found.Subscribers > 0}
	if err := a.fill(ctx, out, found, wanted, false); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

func (a *app) listUsers(ctx context.Context, channel string) ([]byte, error) {
	if !kindOf(channel).has(kindPresence) || !validChannel(channel) {
		return nil, apiErrorf(400, "channel %q is not a presence channel, only those have users", channel)
	}
	members, err := a.space.Members(ctx, channel)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`{"users":[`)
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(append(appendText([]byte(`{"id":`), m.ID), '}'))
	}
	b.WriteString(`]}`)
	return b.Bytes(), nil
}
