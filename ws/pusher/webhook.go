package pusher

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What webhooks are told.
const (
	hookOccupied      = "channel_occupied"
	hookVacated       = "channel_vacated"
	hookMemberAdded   = "member_added"
	hookMemberRemoved = "member_removed"
	hookClientEvent   = "client_event"
	hookCacheMiss     = "cache_miss"
	hookCount         = "subscription_count"
)

var hookNames = []string{hookOccupied, hookVacated, hookMemberAdded, hookMemberRemoved, hookClientEvent, hookCacheMiss, hookCount}

const (
	// settle is how long a channel must stay vacated, or a member away, before that is told: a page that is loaded again is no news.
	settle = 3 * time.Second

	// missQuiet is for how long the misses of a cache channel are one.
	missQuiet = time.Second

	firstPause, longestPause = 500 * time.Millisecond, 30 * time.Second
)

// A happening is one event for webhooks.
type happening struct {
	name    string
	channel string
	userID  string
	event   string // of client_event, with what follows
	data    string
	socket  string
	count   int // of subscription_count
}

func (h *happening) append(dst []byte) []byte {
	pair := func(key, value string) {
		dst = append(append(append(dst, `,"`...), key...), `":`...)
		dst = appendText(dst, value)
	}
	dst = appendText(append(dst, `{"name":`...), h.name)
	pair("channel", h.channel)
	if h.name == hookClientEvent {
		pair("event", h.event)
		pair("data", h.data)
		pair("socket_id", h.socket)
	}
	if h.userID != "" {
		pair("user_id", h.userID)
	}
	if h.name == hookCount {
		dst = strconv.AppendInt(append(dst, `,"subscription_count":`...), int64(h.count), 10)
	}
	return append(dst, '}')
}

// subject is what an ending and a beginning are about.
func (h *happening) subject() string {
	if h.name == hookMemberAdded || h.name == hookMemberRemoved {
		return h.channel + "\n" + h.userID
	}
	return h.channel
}

// A hook sends what happens to one URL, in order, from one goroutine.
type hook struct {
	url    string
	rules  atomic.Pointer[Webhook] // what a reload may change
	app    *app
	client *http.Client
	log    *slog.Logger
	settle time.Duration
	still  func(context.Context, happening) bool // whether an ending is still one

	wake chan struct{} // holds one
	quit chan struct{} // closed by stop

	mu       sync.Mutex // guards what follows
	waiting  []happening
	endings  map[string]ending    // that have yet to settle, by subject
	missed   map[string]time.Time // cache channels whose miss was told lately
	seq      int
	stopping bool

	sent, failed, dropped atomic.Uint64
}

type ending struct {
	happening
	due time.Time
	seq int
}

func newHook(cfg Webhook, a *app, client *http.Client, log *slog.Logger) *hook {
	h := &hook{
		url: cfg.URL, app: a, client: client, log: log, settle: settle, still: a.stillEnded,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), endings: map[string]ending{}, missed: map[string]time.Time{},
	}
	h.rules.Store(&cfg)
	return h
}

// cfg is the configuration that is in force. It does not change.
func (h *hook) cfg() *Webhook { return h.rules.Load() }

// wants reports whether the webhook is to be told of such events.
func (h *hook) wants(name, channel string) bool {
	cfg := h.cfg()
	return slices.Contains(cfg.Events, name) && (len(cfg.Channels) == 0 ||
		slices.ContainsFunc(cfg.Channels, func(prefix string) bool { return strings.HasPrefix(channel, prefix) }))
}

// tell queues what happened. It does not wait; past the limit of the queue it drops.
func (h *hook) tell(e happening, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e.name {
	case hookVacated, hookMemberRemoved:
		if len(h.endings)+len(h.waiting) >= h.cfg().Queue {
			h.dropped.Add(1)
			return
		}
		h.seq++
		h.endings[e.subject()] = ending{e, now.Add(h.settle), h.seq}
		h.signal()
		return
	case hookOccupied, hookMemberAdded:
		if _, away := h.endings[e.subject()]; away {
			delete(h.endings, e.subject()) // it is back before anybody was told that it was gone
			return
		}
	case hookCacheMiss:
		if now.Sub(h.missed[e.channel]) < missQuiet {
			return
		}
		if len(h.missed) < h.cfg().Queue {
			h.missed[e.channel] = now
		}
	case hookCount:
		if i := slices.IndexFunc(h.waiting, func(w happening) bool { return w.name == hookCount && w.channel == e.channel }); i >= 0 {
			h.waiting[i].count = e.count
			return
		}
	}
	h.push(e)
}

func (h *hook) push(e happening) {
	if len(h.waiting)+len(h.endings) >= h.cfg().Queue {
		h.dropped.Add(1)
		return
	}
	h.waiting = append(h.waiting, e)
	h.signal()
}

func (h *hook) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run sends until stop was called and nothing waits any more, or ctx ends.
func (h *hook) run(ctx context.Context) {
	for {
		if h.isStopping() && h.handOver() {
			return
		}
		batch, pause, done := h.next(ctx, time.Now())
		if len(batch) > 0 {
			if !h.deliver(ctx, batch) && h.isStopping() {
				return
			}
			continue
		}
		if done || ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-h.wake:
		case <-h.quit:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// next takes what is to be sent now, or says after which time there may be more.
func (h *hook) next(ctx context.Context, now time.Time) (batch []happening, pause time.Duration, done bool) {
	settled, pause := h.settled(now)
	var news []happening
	for _, e := range settled {
		if h.still(ctx, e) { // on another node it may have come back
			news = append(news, e)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = append(h.waiting, news...)
	for channel, at := range h.missed {
		if now.Sub(at) >= missQuiet {
			delete(h.missed, channel)
		}
	}
	n := min(len(h.waiting), h.cfg().Batch)
	batch = slices.Clone(h.waiting[:n])
	h.waiting = slices.Delete(h.waiting, 0, n)
	if len(h.waiting) == 0 {
		h.waiting = nil
	}
	return batch, pause, h.stopping && len(h.endings) == 0
}

// settled takes the endings that have lasted long enough; at a stop, all.
func (h *hook) settled(now time.Time) (list []happening, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pause = time.Hour
	var over []ending
	for subject, e := range h.endings {
		if left := e.due.Sub(now); left > 0 && !h.stopping {
			pause = min(pause, left)
			continue
		}
		over = append(over, e)
		delete(h.endings, subject)
	}
	slices.SortFunc(over, func(a, b ending) int { return a.seq - b.seq })
	for _, e := range over {
		list = append(list, e.happening)
	}
	return list, pause
}

// stop makes run end when everything is sent, or the first request has failed.
func (h *hook) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopping {
		h.stopping = true
		close(h.quit)
	}
}

func (h *hook) isStopping() bool {
	select {
	case <-h.quit:
		return true
	default:
		return false
	}
}

// left is how many events were not sent.
func (h *hook) left() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.waiting) + len(h.endings)
}

// deliver sends one request, again and again until it is taken or its time is over, which a stop ends.
func (h *hook) deliver(ctx context.Context, batch []happening) bool {
	began := time.Now()
	body := h.body(batch, began)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := h.post(ctx, body)
		if err == nil {
			h.sent.Add(uint64(len(batch)))
			return true
		}
		if pause == firstPause {
			h.log.Warn("a webhook fails, it is tried again", "app", h.app.name, "url", redactURL(h.url), "for", h.cfg().Retry, "error", err)
		}
		h.failed.Add(1)
		pause := pause/2 + rand.N(pause/2) // so that many webhooks do not come back at once
		if time.Since(began)+pause > h.cfg().Retry || !h.sleep(ctx, pause) {
			if h.isStopping() && h.app.forward(h.url, batch) {
				return true
			}
			h.dropped.Add(uint64(len(batch)))
			h.log.Error("webhook events are lost", "app", h.app.name, "url", redactURL(h.url), "events", len(batch), "error", err)
			return false
		}
	}
}

func (h *hook) body(batch []happening, now time.Time) []byte {
	b := strconv.AppendInt([]byte(`{"time_ms":`), now.UnixMilli(), 10)
	b = append(b, `,"events":[`...)
	for i := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = batch[i].append(b)
	}
	return append(b, `]}`...)
}

func (h *hook) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, h.cfg().Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range h.cfg().Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "edge")
	signs := h.app.signs()
	req.Header.Set("X-Pusher-Key", signs.key)
	req.Header.Set("X-Pusher-Signature", sign(signs.secret, string(body)))
	resp, err := h.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// sleep reports whether the pause was slept through: a stop ends it.
func (h *hook) sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-h.quit:
	case <-ctx.Done():
	}
	return false
}

// sleep reports whether the pause was slept through.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
