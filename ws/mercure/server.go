// Package mercure is a Mercure hub: subscribers listen to event streams (Server-Sent Events) over HTTP/1.1, HTTP/2 and HTTP/3, publishers
// post forms, and tokens say who may do what.
//
//	GET  /.well-known/mercure?topic=…               an event stream
//	POST /.well-known/mercure                       publish
//	GET  /.well-known/mercure/subscriptions/…       who listens, with subscriptions: true
//	mercure.Publish                                 the same for PHP workers, by RPC
//
// What is published goes through one goroutine (log.go), which gives it a place in the order of the hub, stores it (history.go) and then hands
// it to the registry, which puts it into the queues of those it is for (registry.go). Each stream is written by the goroutine of its request
// (subscriber.go). Selectors are literal topics, URI templates (template.go) or, with protocol 1, URL patterns (urlpattern.go).
package mercure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/ws"
)

// Options are what a Server needs from its surroundings.
type Options struct {
	Logger *slog.Logger

	// StateDir is where the history is, unless it has a file of its own.
	StateDir string

	// Limits are those of every connection, as for WebSockets. Begin with ws.DefaultLimits.
	Limits ws.Limits

	// Space joins the hub with those of other nodes. Nil: there are none.
	Space *ws.Space

	// Later says that another process has the hub, and publishes: what is published here waits for TakeOver.
	Later bool

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Server is a hub.
type Server struct {
	cfg       Config
	limits    atomic.Pointer[ws.Limits]
	log       *slog.Logger
	now       func() time.Time
	selectors *selectorCache
	verifiers atomic.Pointer[verifiers]
	registry  *registry
	history   *history // nil: nothing is kept. Set by Start
	stats     counters

	later      bool
	space      *ws.Space // nil: this node is alone
	leaveFleet func()
	sharedMu   sync.Mutex
	shared     map[string]*publication // on their way through the broker, by a key of their own
	heard      atomic.Uint64           // updates that the broker has brought
	logged     uint64                  // and how many of these the log has seen, which alone uses it
	gap        gap
	missing    chan struct{} // has room for one: gap.missed has changed

	incoming chan *publication
	turnMu   sync.RWMutex // guards turn; held while an update is put into the log
	turn     turn

	moveMu  sync.Mutex // one after the other: Start, Hold, TakeOver, Resume, Leave, Stop
	started bool

	gate     sync.RWMutex // guards stopping, and that no stream begins once it is set
	stopping bool
	streams  sync.WaitGroup
}

// New checks the configuration, and reads the keys. It starts nothing.
func New(cfg Config, opts Options) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.CookieName = cfg.cookie()
	if cfg.History.File == "" {
		cfg.History.File = filepath.Join(opts.StateDir, "mercure.db")
	}
	s := &Server{
		cfg: cfg, log: opts.Logger, now: opts.Now, registry: newRegistry(),
		later: opts.Later, space: opts.Space, shared: map[string]*publication{}, missing: make(chan struct{}, 1),
		incoming: make(chan *publication, cfg.Limits.Publishing),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.selectors = &selectorCache{}
	if cfg.Protocol == 1 {
		base, err := newHubURL(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("url: %w", err)
		}
		s.selectors.base = base
	}
	commit, err := s.Change(opts.Limits)
	if err != nil {
		return nil, err
	}
	commit()
	return s, nil
}

// Change reads the files of keys again, and returns what puts these in force, with other limits: for subscribers that come, and for the queues
// of those who are there.
func (s *Server) Change(l ws.Limits) (commit func(), err error) {
	next, err := s.readKeys()
	if err != nil {
		return nil, err
	}
	return func() {
		s.verifiers.Store(next)
		s.limits.Store(&l)
	}, nil
}

// verifiers are those of both roles.
type verifiers struct{ publishers, subscribers *verifier }

func (s *Server) readKeys() (*verifiers, error) {
	before := s.verifiers.Load()
	if before == nil {
		before = &verifiers{}
	}
	publishers, err := s.newVerifier(s.cfg.Publisher, before.publishers)
	if err != nil {
		return nil, fmt.Errorf("publisher.%w", err)
	}
	keys := s.cfg.Subscriber
	if !keys.any() {
		keys = s.cfg.Publisher
	}
	subscribers, err := s.newVerifier(keys, before.subscribers)
	if err != nil {
		return nil, fmt.Errorf("subscriber.%w", err)
	}
	return &verifiers{publishers, subscribers}, nil
}

func (s *Server) newVerifier(k Keys, before *verifier) (*verifier, error) {
	keys, err := k.source().Open()
	if err != nil {
		return nil, err
	}
	if before != nil {
		keys.Follow(before.keys)
	}
	v := newVerifier(keys, s.selectors, &s.cfg.Limits, s.now)
	v.protocol, v.issuer, v.audience = s.cfg.Protocol, k.Issuer, s.cfg.URL
	return v, nil
}

// Start opens the history, unless it is another process that has it.
func (s *Server) Start(ctx context.Context) error {
	s.moveMu.Lock()
	defer s.moveMu.Unlock()
	if s.cfg.History.Size > 0 {
		s.history = newHistory(s.cfg.History, s.now)
	}
	s.hold()
	s.started = true
	if err := s.join(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(fmt.Errorf("ws.mercure: %w", err), s.stop())
	}
	if s.later {
		return nil
	}
	s.wasAway()
	if err := s.begin(); err != nil {
		return errors.Join(fmt.Errorf("ws.mercure: %w", err), s.stop())
	}
	return nil
}

// partingTime is how long the goodbyes take at most, partingGroup how many streams end at once.
const (
	partingTime  = 5 * time.Second
	partingGroup = 100
	partingSteps = 50
)

// Disconnect ends all streams, a few at a time, and tells each client to come back after a time of its own. New ones are refused. It returns
// when the last has ended.
func (s *Server) Disconnect(ctx context.Context) error {
	s.gate.Lock()
	s.stopping = true
	s.gate.Unlock()
	total := partingTime
	if deadline, ok := ctx.Deadline(); ok {
		total = min(total, time.Until(deadline)/3)
	}
	for _, sub := range s.sendAllAway(ctx, s.registry.list(), total) { // there is no more time
		sub.sendAway()
	}
	gone := make(chan struct{})
	go func() { // ends with the last stream, whose writes have a timeout
		s.streams.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ws.mercure: some streams have not ended: %w", ctx.Err())
	}
}

// sendAllAway sends streams away within a time, a few at once, and returns those that are left when ctx ends.
func (s *Server) sendAllAway(ctx context.Context, all []*subscriber, total time.Duration) (left []*subscriber) {
	group := max(partingGroup, (len(all)+partingSteps-1)/partingSteps)
	for len(all) > 0 {
		n := min(group, len(all))
		for _, sub := range all[:n] {
			sub.sendAway()
		}
		if all = all[n:]; len(all) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return all
		case <-time.After(max(total/partingSteps, time.Millisecond)):
		}
	}
	return nil
}

// partingRetry spreads those who come back over a time that grows with their number.
func (s *Server) partingRetry() time.Duration {
	s.registry.mu.Lock()
	n := len(s.registry.subs)
	s.registry.mu.Unlock()
	spread := min(500*time.Millisecond+time.Duration(n)*200*time.Microsecond, 20*time.Second)
	return 500*time.Millisecond + rand.N(spread)
}

// Stop ends what Start began. Streams are ended, too, if Disconnect has not done that.
func (s *Server) Stop(ctx context.Context) error {
	err := s.Disconnect(ctx)
	s.moveMu.Lock()
	defer s.moveMu.Unlock()
	return errors.Join(err, s.stop())
}

// Handles reports whether a request is for the hub.
func (s *Server) Handles(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, s.cfg.Path)
	return ok && (rest == "" || rest[0] == '/') || s.cfg.Protocol == 1 && r.URL.Path == metadataPrefix+s.cfg.Path
}

// ServeHTTP answers what Handles.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cors(w, r) {
		return
	}
	rest := strings.TrimPrefix(r.URL.Path, s.cfg.Path)
	switch {
	case s.cfg.Protocol == 1 && r.URL.Path == metadataPrefix+s.cfg.Path:
		s.serveMetadata(w, r)
	case rest == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == "QUERY" && s.cfg.Protocol == 1):
		s.serveSubscribe(w, r)
	case rest == "" && r.Method == http.MethodPost:
		s.servePublish(w, r)
	case rest == "":
		w.Header().Set("Allow", s.methods())
		s.fail(w, failure{status: http.StatusMethodNotAllowed, text: "the hub has GET to subscribe and POST to publish"})
	case s.cfg.Subscriptions && (rest == "/subscriptions" || strings.HasPrefix(rest, "/subscriptions/")):
		s.serveSubscriptions(w, r)
	default:
		s.fail(w, failure{status: http.StatusNotFound, text: "there is nothing here"})
	}
}

func (s *Server) methods() string {
	if s.cfg.Protocol == 1 {
		return "GET, HEAD, POST, QUERY, OPTIONS"
	}
	return "GET, HEAD, POST, OPTIONS"
}

// failure is an answer with an error.
type failure struct {
	status int
	text   string
	code   string // of RFC 6750, for protocol 1
	token  bool   // the credential is what is wrong
}

func (f failure) Error() string { return f.text }

func (s *Server) fail(w http.ResponseWriter, f failure) {
	s.stats.refuse(f.status)
	h := w.Header()
	if f.status == http.StatusUnauthorized || f.token {
		challenge := "Bearer"
		if s.cfg.Protocol == 1 {
			challenge += ` resource_metadata="` + s.metadataURL() + `"`
			if f.code != "" {
				challenge += `, error="` + f.code + `"`
			}
		}
		h.Set("WWW-Authenticate", challenge)
	}
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests {
		h.Set("Retry-After", "1")
	}
	h.Set("Cache-Control", "no-store")
	http.Error(w, f.text, f.status)
}
