package pusher

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is the ws.pusher section.
type Config struct {
	// Path is what stands before /app/KEY and /apps/ID in URLs, such as /realtime. Default none.
	Path string `koanf:"path"`

	// Connections of all apps together; more are told to come back later (4100). 0: no limit. Default 0.
	Connections int `koanf:"connections"`

	// Apps are the applications by name. Each has a key, a secret and channels of its own.
	Apps map[string]App `koanf:"apps"`
}

// App is one application: what a front end and a back end know it by, and what it may use.
type App struct {
	// ID stands in the URLs of the HTTP API, /apps/ID. Default: the name of the app.
	ID string `koanf:"id"`

	// Key is what front ends connect with, /app/KEY. It is public.
	Key string `koanf:"key"`

	// Secret signs what the back end allows and sends. At least 8 characters.
	Secret string `koanf:"secret"`

	// Enabled: false refuses clients (4003), those who are there too, and API calls (403), and keeps the rest of the section. Default true.
	Enabled bool `koanf:"enabled"`

	// TLSOnly refuses clients without TLS with 4000, upon which pusher-js tries again with it. Default false.
	TLSOnly bool `koanf:"tls_only"`

	// AllowedOrigins are the hosts of pages that may connect: *, example.com, *.example.com (any number of labels), or an
	// origin with scheme and port such as https://example.com:8443. Clients that are no browsers send no origin and always may.
	// Default *.
	AllowedOrigins []string `koanf:"allowed_origins"`

	// ActivityTimeout is the silence after which a client asks whether the server is there. A client that was silent for that
	// time and a half is asked by the server. Default 60s.
	ActivityTimeout time.Duration `koanf:"activity_timeout"`

	// PongTimeout is how long the server waits for a silent client's answer before it closes with 4201. Default 30s.
	PongTimeout time.Duration `koanf:"pong_timeout"`

	// SigninTimeout closes connections with 4009 that have neither signed in nor subscribed to a private or presence channel
	// by then. 0: they may stay. Default 0s.
	SigninTimeout time.Duration `koanf:"signin_timeout"`

	// ClientEvents says who may send client- events: private (members of a private or presence channel), members (of any
	// channel) or off (4301). Default private.
	ClientEvents string `koanf:"client_events"`

	// SubscriptionCount tells subscribers of all but presence channels how many they are. Default false.
	SubscriptionCount bool `koanf:"subscription_count"`

	// Watchlist tells signed-in users which users of their watchlist come online and go offline. Default true.
	Watchlist bool `koanf:"watchlist"`

	// CacheTTL is how long cache channels keep their last event. Default 30m.
	CacheTTL time.Duration `koanf:"cache_ttl"`

	Limits Limits `koanf:"limits"`

	// Webhooks are told what happens on channels. Default none.
	Webhooks []Webhook `koanf:"webhooks"`
}

// Limits bound what one app may use. 0 means no limit where it says so.
type Limits struct {
	// Connections open at once; more are refused with 4004. 0: no limit. Default 0.
	Connections int `koanf:"connections"`

	// Channels that one connection may be subscribed to. Default 1000.
	Channels int `koanf:"channels"`

	// ClientEvents that one connection may send within a second; more are answered with 4301. 0: no limit. Default 10.
	ClientEvents int `koanf:"client_events"`

	// Events that the back end may publish within a second, by HTTP and by RPC; more get 429. 0: no limit. Default 0.
	Events int `koanf:"events"`

	// Reads of the HTTP API within a second; more get 429. 0: no limit. Default 0.
	Reads int `koanf:"reads"`

	// EventData is the largest data of an event, of clients and of the back end (413). Default 10KiB.
	EventData bytesize.Size `koanf:"event_data"`

	// Request is the largest body of a call to the HTTP API (413). Default 1MiB.
	Request bytesize.Size `koanf:"request"`

	// EventChannels is how many channels one event may be published to. Default 100.
	EventChannels int `koanf:"event_channels"`

	// Batch is how many events one call of batch_events may have. Default 10.
	Batch int `koanf:"batch"`

	// ChannelName is the longest name of a channel, in characters. Default 200.
	ChannelName int `koanf:"channel_name"`

	// EventName is the longest name of an event, in characters. Default 200.
	EventName int `koanf:"event_name"`

	// Members of one presence channel. Default 100.
	Members int `koanf:"members"`

	// MemberData is the largest channel_data of a member and user_data of a user, without the watchlist. Default 2KiB.
	MemberData bytesize.Size `koanf:"member_data"`

	// UserID is the longest id of a user, in characters. Default 128.
	UserID int `koanf:"user_id"`

	// Watchlist is how many users one user may watch; the rest of the list is left out (4302). Default 100.
	Watchlist int `koanf:"watchlist"`
}

// Webhook is a URL that is sent what happens, signed with the app's secret.
type Webhook struct {
	// URL gets POST requests.
	URL string `koanf:"url"`

	// Events that are sent: channel_occupied, channel_vacated, member_added, member_removed, client_event, cache_miss,
	// subscription_count. Default all but subscription_count.
	Events []string `koanf:"events"`

	// Channels limits the webhook to channels whose names begin so. Default all.
	Channels []string `koanf:"channels"`

	// Headers that requests have beside those of the protocol. Default none.
	Headers map[string]string `koanf:"headers"`

	// Batch is how many events one request may have. 1: one each. Default 100.
	Batch int `koanf:"batch"`

	// Queue is how many events may wait; more are dropped and counted. Default 10000.
	Queue int `koanf:"queue"`

	// Timeout of one request. Default 5s.
	Timeout time.Duration `koanf:"timeout"`

	// Retry is how long a request that fails is tried again, with longer and longer pauses. 0: it is not. Default 5m.
	Retry time.Duration `koanf:"retry"`
}

// mostChannels and mostWatched are the largest limits.channels and limits.watchlist.
const mostChannels, mostWatched = 100_000, 10_000

// Who may send client events.
const (
	clientEventsPrivate = "private"
	clientEventsMembers = "members"
	clientEventsOff     = "off"
)

// Defaults is where decoding of an app starts.
func (App) Defaults() any {
	return App{
		Enabled:         true,
		AllowedOrigins:  []string{"*"},
		ActivityTimeout: time.Minute,
		PongTimeout:     30 * time.Second,
		ClientEvents:    clientEventsPrivate,
		Watchlist:       true,
		CacheTTL:        30 * time.Minute,
		Limits: Limits{
			Channels:      1000,
			ClientEvents:  10,
			EventData:     10 * bytesize.KiB,
			Request:       bytesize.MiB,
			EventChannels: 100,
			Batch:         10,
			ChannelName:   200,
			EventName:     200,
			Members:       100,
			MemberData:    2 * bytesize.KiB,
			UserID:        128,
			Watchlist:     100,
		},
	}
}

// Defaults is where decoding of a webhook starts.
func (Webhook) Defaults() any {
	return Webhook{
		Events:  []string{hookOccupied, hookVacated, hookMemberAdded, hookMemberRemoved, hookClientEvent, hookCacheMiss},
		Batch:   100,
		Queue:   10000,
		Timeout: 5 * time.Second,
		Retry:   5 * time.Minute,
	}
}

var (
	appToken = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`) // an id or a key: what a path segment shows as it is
	pathRule = regexp.MustCompile(`^(/[A-Za-z0-9_.~-]+)*$`)
)

// Validate checks the section. Every problem is in the error.
func (c Config) Validate() error {
	var errs []error
	if !pathRule.MatchString(c.Path) {
		errs = append(errs, fmt.Errorf("path: %q is not a path such as /realtime, without a slash at the end", c.Path))
	}
	if c.Connections < 0 {
		errs = append(errs, fmt.Errorf("connections: must not be negative; 0 means no limit, got %d", c.Connections))
	}
	if len(c.Apps) == 0 {
		errs = append(errs, errors.New("apps: there is no app: write apps: {NAME: {key: …, secret: …}}"))
	}
	ids, keys := map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		app := c.Apps[name]
		for _, err := range app.problems(name) {
			errs = append(errs, fmt.Errorf("apps.%s.%w", name, err))
		}
		if other, taken := ids[app.id(name)]; taken {
			errs = append(errs, fmt.Errorf("apps.%s.id: %q is the id of app %s already", name, app.id(name), other))
		}
		if other, taken := keys[app.Key]; taken && app.Key != "" {
			errs = append(errs, fmt.Errorf("apps.%s.key: %q is the key of app %s already", name, app.Key, other))
		}
		ids[app.id(name)], keys[app.Key] = name, name
	}
	return errors.Join(errs...)
}

// id is what the app's URLs have.
func (a *App) id(name string) string {
	if a.ID != "" {
		return a.ID
	}
	return name
}

func (a *App) problems(name string) []error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !appToken.MatchString(a.id(name)) {
		report("id: %q must be up to 100 letters, digits, -, _ and .", a.id(name))
	}
	if !appToken.MatchString(a.Key) {
		report("key: %q must be up to 100 letters, digits, -, _ and .", a.Key)
	}
	if len(a.Secret) < 8 {
		report("secret: must have at least 8 characters; make one with: openssl rand -hex 16")
	}
	for i, origin := range a.AllowedOrigins {
		if !validOrigin(origin) {
			report("allowed_origins[%d]: %q is neither *, a host (example.com, *.example.com) nor an origin (https://example.com:8443)", i, origin)
		}
	}
	for key, d := range map[string]time.Duration{"activity_timeout": a.ActivityTimeout, "pong_timeout": a.PongTimeout} {
		if d < time.Second || d > 24*time.Hour {
			report("%s: must be between 1s and 24h, got %s", key, d)
		}
	}
	if a.SigninTimeout < 0 || a.SigninTimeout > 10*time.Minute {
		report("signin_timeout: must be between 0s (none) and 10m, got %s", a.SigninTimeout)
	}
	if a.CacheTTL < time.Second || a.CacheTTL > 24*time.Hour {
		report("cache_ttl: must be between 1s and 24h, got %s", a.CacheTTL)
	}
	if !slices.Contains([]string{clientEventsPrivate, clientEventsMembers, clientEventsOff}, a.ClientEvents) {
		report("client_events: must be private, members or off, got %q", a.ClientEvents)
	}
	for _, err := range a.Limits.problems() {
		report("limits.%w", err)
	}
	for i := range a.Webhooks {
		for _, err := range a.Webhooks[i].problems() {
			report("webhooks[%d].%w", i, err)
		}
	}
	return errs
}

func (l *Limits) problems() []error {
	var errs []error
	between := func(key string, n, low, high int64) {
		if n < low || n > high {
			errs = append(errs, fmt.Errorf("%s: must be between %d and %d, got %d", key, low, high, n))
		}
	}
	const many = 1 << 30
	between("connections", int64(l.Connections), 0, many)
	between("channels", int64(l.Channels), 1, mostChannels)
	between("client_events", int64(l.ClientEvents), 0, many)
	between("events", int64(l.Events), 0, many)
	between("reads", int64(l.Reads), 0, many)
	between("event_data", int64(l.EventData), 1, 16<<20)
	between("request", int64(l.Request), 1, 256<<20)
	between("event_channels", int64(l.EventChannels), 1, 100_000)
	between("batch", int64(l.Batch), 1, 100_000)
	between("channel_name", int64(l.ChannelName), 1, 1000)
	between("event_name", int64(l.EventName), 1, 1000)
	between("members", int64(l.Members), 1, 100_000)
	between("member_data", int64(l.MemberData), 1, 1<<20)
	between("user_id", int64(l.UserID), 1, 1000)
	between("watchlist", int64(l.Watchlist), 1, mostWatched)
	return errs
}

func (w *Webhook) problems() []error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		report("url: must be a URL such as https://example.com/pusher/webhook") // it may have a password
	}
	if len(w.Events) == 0 {
		report("events: none: name some of %s, or leave the key out", strings.Join(hookNames, ", "))
	}
	for i, name := range w.Events {
		if !slices.Contains(hookNames, name) {
			report("events[%d]: there is no event %q: there are %s", i, name, strings.Join(hookNames, ", "))
		}
	}
	if w.Batch < 1 || w.Batch > 10_000 {
		report("batch: must be between 1 and 10000, got %d", w.Batch)
	}
	if w.Queue < 1 || w.Queue > 10_000_000 {
		report("queue: must be between 1 and 10000000, got %d", w.Queue)
	}
	if w.Timeout < 100*time.Millisecond || w.Timeout > 5*time.Minute {
		report("timeout: must be between 100ms and 5m, got %s", w.Timeout)
	}
	if w.Retry < 0 || w.Retry > 24*time.Hour {
		report("retry: must be between 0s and 24h, got %s", w.Retry)
	}
	for name, value := range w.Headers {
		if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n") {
			report("headers: %q is not a header", name)
		}
	}
	return errs
}
