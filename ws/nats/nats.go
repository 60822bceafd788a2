// Package nats joins the nodes of a fleet by NATS.
//
// Publications are core messages, so only nodes with subscribers get them. JetStream holds what must be remembered, in three streams:
//
//	PREFIX-history   kept publications; each names its offset and the one before it
//	PREFIX-channels  a record for each channel with subscribers: nodes, members, and the latest announcements
//	PREFIX-nodes     the leases
//
// What changes them says which version it has seen, and tries again when another node was faster. So publications that are kept,
// and announcements, have one order; the node that made a change publishes it afterwards, and who gets one too early reads what is
// missing. Publications that are not kept have the order of each node that publishes, and of no two.
package nats

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

// Options are what a Driver needs beside its section.
type Options struct {
	Prefix  string // of subjects and streams
	Lease   time.Duration
	Timeout time.Duration
}

// Driver is a fleet.Driver of one fleet.Lane.
type Driver struct {
	cfg  Config
	opts Options
	node string
	sink fleet.Sink

	mu      sync.Mutex // guards what follows
	link    *link
	created time.Time // of the records that this node is in
	fresh   bool      // they are new: the server has forgotten this node

	owed fleet.Lease // what Renew has found and not returned yet; the keeper's own

	records stripes // a node does not compete with itself
	heads   stripes
}

// stripes are locks for channels.
type stripes [256]sync.Mutex

func (s *stripes) lock(of ws.Address) func() {
	mu := &s[fleet.LaneOf(of, len(s))]
	mu.Lock()
	return mu.Unlock
}

var (
	errClosed = errors.New("ws.broker.nats: the connection has ended")
	errRecord = errors.New("ws.broker.nats: a record cannot be understood; something else may write to the streams under broker.prefix")
)

// New makes a driver; Start connects it.
func New(cfg Config, opts Options) *Driver { return &Driver{cfg: cfg, opts: opts} }

// Start is of fleet.Driver.
func (d *Driver) Start(ctx context.Context, node string, sink fleet.Sink) error {
	d.node, d.sink = base64.RawURLEncoding.EncodeToString([]byte(node)), sink
	patience := 2 * d.opts.Timeout
	if d.cfg.Replicas > 1 {
		patience += clusterPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.Connect(ctx, nil); err != nil {
		return fmt.Errorf("ws.broker.nats: %s: %w", strings.Join(d.cfg.Servers, ","), err)
	}
	return nil
}

// clusterPatience is how long the servers of a cluster may take at the start to agree who holds streams that are new.
const clusterPatience = 10 * time.Second

// Stop is of fleet.Driver.
func (d *Driver) Stop(context.Context) error {
	d.disconnect()
	return nil
}

// Lanes is of fleet.Driver.
func (d *Driver) Lanes() []fleet.Lane { return []fleet.Lane{d} }

// Trips is of fleet.Driver: a record is read and written, and what it announces is published; other nodes may be faster.
func (d *Driver) Trips() int { return 10 }

// Broken is of fleet.Driver.
func (d *Driver) Broken(err error) bool {
	var api jetstream.JetStreamError
	switch {
	case err == nil, errors.Is(err, nats.ErrMaxPayload), errors.Is(err, errRecord), errors.Is(err, errCrowded):
		return false
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return true
	case errors.As(err, &api) && api.APIError() != nil:
		return api.APIError().Code >= 500
	}
	return true
}

// link is a connection. It is used once: when it breaks, Connect makes another, since what was published meanwhile is missing.
type link struct {
	driver   *Driver
	conn     *nats.Conn
	js       jetstream.JetStream
	history  jetstream.Stream
	channels jetstream.Stream
	nodes    jetstream.Stream
	inbox    chan *nats.Msg
	stop     chan struct{}
	done     chan struct{}
	reaped   map[string]bool // the nodes that lived when dead ones were looked for; nil: not yet; the keeper's own

	mu   sync.Mutex
	subs map[ws.Address]*nats.Subscription
}

// inboxSize is how many messages wait for this node to take them; when there are more, the connection is given up and made anew.
const inboxSize = 1 << 14

// Connect is of fleet.Lane.
func (d *Driver) Connect(ctx context.Context, channels []ws.Address) error {
	d.disconnect()
	conn, err := d.connect()
	if err != nil {
		return err
	}
	k := &link{
		driver: d, conn: conn, inbox: make(chan *nats.Msg, inboxSize), stop: make(chan struct{}), done: make(chan struct{}),
		subs: map[ws.Address]*nats.Subscription{},
	}
	if err := k.open(ctx, channels); err != nil {
		conn.Close()
		return err
	}
	go k.receive() // ends with disconnect
	d.mu.Lock()
	d.link = k
	d.mu.Unlock()
	return nil
}

func (k *link) open(ctx context.Context, channels []ws.Address) (err error) {
	if k.js, err = jetstream.New(k.conn, jetstream.WithDefaultTimeout(k.driver.opts.Timeout)); err != nil {
		return err
	}
	if err := k.makeStreams(ctx); err != nil {
		return err
	}
	if _, err := k.conn.ChanSubscribe(k.driver.opts.Prefix+".control", k.inbox); err != nil {
		return err
	}
	for _, c := range channels {
		if err := k.listen(c); err != nil {
			return err
		}
	}
	return k.conn.FlushWithContext(ctx)
}

func (k *link) makeStreams(ctx context.Context) error {
	d := k.driver
	c, prefix := d.cfg, d.opts.Prefix
	storage := jetstream.MemoryStorage
	if c.Storage == StorageFile {
		storage = jetstream.FileStorage
	}
	lease := fleet.LeaseTime(d.opts.Lease)
	streams := []struct {
		to     *jetstream.Stream
		config jetstream.StreamConfig
	}{
		{&k.history, jetstream.StreamConfig{
			Name: prefix + "-history", Subjects: []string{prefix + ".h.>"}, Storage: storage,
			MaxMsgsPerSubject: int64(c.HistorySize), MaxAge: c.HistoryTTL, Description: "kept publications of edge",
		}},
		{&k.channels, jetstream.StreamConfig{
			Name: prefix + "-channels", Subjects: []string{prefix + ".r.>"}, Storage: jetstream.MemoryStorage,
			MaxMsgsPerSubject: 1, Description: "members and subscribers of edge",
		}},
		{&k.nodes, jetstream.StreamConfig{
			Name: prefix + "-nodes", Subjects: []string{prefix + ".n.>"}, Storage: jetstream.MemoryStorage,
			MaxMsgsPerSubject: 1, MaxAge: lease, Duplicates: lease, Description: "leases of edge",
		}},
	}
	errs := make([]error, len(streams))
	var wg sync.WaitGroup
	for i := range streams { // at once: the servers of a cluster take a second to agree on each
		s := &streams[i]
		s.config.Replicas = c.Replicas
		wg.Go(func() { // ends with ctx
			if *s.to, errs[i] = k.makeStream(ctx, s.config); errs[i] != nil {
				errs[i] = fmt.Errorf("stream %s: %w", s.config.Name, errs[i])
			}
		})
	}
	wg.Wait()
	err := errors.Join(errs...)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders) {
		return errors.New("the server has no JetStream, which keeps history and members; start it with -js, or enable JetStream for the account")
	}
	if err != nil {
		return err
	}
	created := k.channels.CachedInfo().Created
	d.mu.Lock()
	d.fresh = d.fresh || !created.Equal(d.created)
	d.created = created
	d.mu.Unlock()
	return nil
}

// makeStream makes a stream, or changes it if it is not as it should be. One that is right is not touched: NATS 2.9 dies of a change
// that comes while another node is making the stream, as all do at once when their server is back.
func (k *link) makeStream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := k.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if stream, err = k.js.CreateStream(ctx, want); errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = k.js.Stream(ctx, want.Name) // another node was faster
		}
	}
	if err != nil {
		return nil, err
	}
	is := stream.CachedInfo().Config
	if slices.Equal(is.Subjects, want.Subjects) && is.Storage == want.Storage && is.Replicas == max(want.Replicas, 1) && is.MaxAge == want.MaxAge &&
		is.MaxMsgsPerSubject == want.MaxMsgsPerSubject && (want.Duplicates == 0 || is.Duplicates == want.Duplicates) {
		return stream, nil
	}
	return k.js.UpdateStream(ctx, want)
}

func (d *Driver) disconnect() {
	d.mu.Lock()
	k := d.link
	d.link = nil
	d.mu.Unlock()
	if k != nil {
		k.conn.Close()
		close(k.stop)
		<-k.done
	}
}

func (d *Driver) current() (*link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link == nil {
		return nil, errClosed
	}
	return d.link, nil
}

// Listen is of fleet.Lane.
func (d *Driver) Listen(ctx context.Context, channel ws.Address) error {
	k, err := d.current()
	if err != nil {
		return err
	}
	if err := k.listen(channel); err != nil {
		return err
	}
	return k.flush(ctx)
}

func (k *link) listen(channel ws.Address) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.subs[channel] != nil {
		return nil
	}
	sub, err := k.conn.ChanSubscribe(k.driver.opts.Prefix+".c."+token(channel), k.inbox)
	if err == nil {
		k.subs[channel] = sub
	}
	return err
}

// Unlisten is of fleet.Lane.
func (d *Driver) Unlisten(_ context.Context, channel ws.Address) error {
	k, err := d.current()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	sub := k.subs[channel]
	if sub == nil {
		return nil
	}
	delete(k.subs, channel)
	return sub.Unsubscribe()
}

// receive hands on what arrives, one message after the other.
func (k *link) receive() {
	defer close(k.done)
	prefix := k.driver.opts.Prefix
	for {
		select {
		case <-k.stop:
			return
		case m := <-k.inbox:
			if m.Subject == prefix+".control" {
				k.driver.sink.Told(m.Data)
				continue
			}
			if channel, ok := address(strings.TrimPrefix(m.Subject, prefix+".c.")); ok {
				log, at, message := fleet.ParseFrame(m.Data)
				k.driver.sink.Published(channel, log, at, message)
			}
		}
	}
}

// send publishes and waits until the server has it.
func (k *link) send(ctx context.Context, subject string, message []byte) error {
	if err := k.conn.Publish(subject, message); err != nil {
		return err
	}
	return k.flush(ctx)
}

// Tell is of fleet.Lane.
func (d *Driver) Tell(ctx context.Context, message []byte) error {
	k, err := d.current()
	if err != nil {
		return err
	}
	return k.send(ctx, d.opts.Prefix+".control", message)
}

// token is how a channel is called in subjects: what subjects may not have is in no name.
func token(a ws.Address) string {
	enc := base64.RawURLEncoding
	return "s" + enc.EncodeToString([]byte(a.Space)) + ".c" + enc.EncodeToString([]byte(a.Channel))
}

func address(token string) (a ws.Address, ok bool) {
	space, channel, found := strings.Cut(token, ".")
	if !found || space == "" || channel == "" || space[0] != 's' || channel[0] != 'c' {
		return a, false
	}
	s, err := base64.RawURLEncoding.DecodeString(space[1:])
	c, err2 := base64.RawURLEncoding.DecodeString(channel[1:])
	return ws.Address{Space: string(s), Channel: string(c)}, err == nil && err2 == nil
}

var (
	_ fleet.Driver = (*Driver)(nil)
	_ fleet.Lane   = (*Driver)(nil)
)
