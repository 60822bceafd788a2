package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// maxPending bounds the names that are asked about, or fetched, at a time. Clients choose names: a flood of them gets a quick no.
	maxPending = 32

	// maxDenied bounds the names that are remembered as denied.
	maxDenied = 10_000

	// deniedTime is how long a denied name is not asked about again, failedTime one for which something went wrong.
	deniedTime, failedTime = time.Minute, 20 * time.Second

	// askTime bounds one question, obtainTime all that is done for a name.
	askTime, obtainTime = 5 * time.Second, 90 * time.Second
)

var (
	errDenied = errors.New("the ask endpoint denies the name")
	errBusy   = errors.New("too many names are being looked up")
)

// onDemand gets certificates when clients ask for them: each name once at a time, few names at a time, and those that were denied not
// again for a while. A client waits as long as its handshake may take; what was begun for it goes on.
type onDemand struct {
	manager *Manager
	ask     *url.URL
	client  *http.Client
	running sync.WaitGroup

	mu      sync.Mutex
	pending map[string]*pending
	denied  map[string]denial
	stopped bool
}

// pending is one name that is looked up. cert and err are set before done is closed.
type pending struct {
	done chan struct{}
	cert *tls.Certificate
	err  error
}

type denial struct {
	until time.Time
	err   error
}

func newOnDemand(m *Manager, ask string) *onDemand {
	u, err := url.Parse(ask)
	if err != nil {
		panic(err) // Validate has parsed it
	}
	return &onDemand{
		manager: m, ask: u, pending: map[string]*pending{}, denied: map[string]denial{},
		client: &http.Client{
			Timeout:       askTime,
			Transport:     &http.Transport{MaxConnsPerHost: maxPending, IdleConnTimeout: 10 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// get returns the certificate for a name.
func (o *onDemand) get(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	m := o.manager
	if len(m.cache.AllMatchingCertificates(name)) > 0 { // certmagic renews it beside the handshake
		return m.demanded.GetCertificateWithContext(m.life, hello)
	}
	p, err := o.begin(hello, name)
	if err != nil {
		return nil, fmt.Errorf("no certificate for %q: %w", name, err)
	}
	timer := time.NewTimer(m.patience)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.cert, p.err
	case <-hello.Context().Done():
		return nil, hello.Context().Err()
	case <-timer.C:
		return nil, fmt.Errorf("no certificate for %q within %s; it is still being fetched", name, m.patience)
	}
}

// begin looks the name up, unless that is being done, or has been denied a moment ago.
func (o *onDemand) begin(hello *tls.ClientHelloInfo, name string) (*pending, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p, ok := o.pending[name]; ok {
		return p, nil
	}
	if d, ok := o.denied[name]; ok && time.Now().Before(d.until) {
		return nil, d.err
	}
	if len(o.pending) >= maxPending || o.stopped {
		return nil, errBusy
	}
	p := &pending{done: make(chan struct{})}
	o.pending[name] = p
	o.running.Go(func() { o.lookUp(hello, name, p) }) // ends within obtainTime, or with the manager
	return p, nil
}

func (o *onDemand) lookUp(hello *tls.ClientHelloInfo, name string, p *pending) {
	ctx, cancel := context.WithTimeout(o.manager.life, obtainTime)
	defer cancel()
	p.cert, p.err = o.manager.demanded.GetCertificateWithContext(ctx, hello)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pending, name)
	if p.err != nil {
		p.cert = nil
		o.deny(name, p.err)
	}
	close(p.done)
}

// deny remembers that a name has no certificate. The caller holds mu.
func (o *onDemand) deny(name string, err error) {
	now, keep := time.Now(), failedTime
	if errors.Is(err, errDenied) {
		keep, err = deniedTime, errDenied
	}
	if len(o.denied) >= maxDenied {
		for other, d := range o.denied {
			if now.After(d.until) {
				delete(o.denied, other)
			}
		}
	}
	for other := range o.denied { // any one makes room
		if len(o.denied) < maxDenied {
			break
		}
		delete(o.denied, other)
	}
	o.denied[name] = denial{now.Add(keep), err}
}

// allowed asks the endpoint. It is certmagic's DecisionFunc.
func (o *onDemand) allowed(ctx context.Context, name string) error {
	u := *o.ask
	query := u.Query()
	query.Set("domain", name)
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	res, err := o.client.Do(req)
	if err != nil {
		o.manager.log.Warn("on_demand.ask does not answer: no certificate for a name that a client wants", "domain", name, "error", err)
		return fmt.Errorf("on_demand.ask: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w (%s)", errDenied, res.Status)
	}
	return nil
}

// stop returns when no name is looked up any more, or when ctx ends.
func (o *onDemand) stop(ctx context.Context) {
	o.mu.Lock()
	o.stopped = true
	o.mu.Unlock()
	ended := make(chan struct{})
	go func() { // ends with the last look-up, whose context has ended
		o.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	o.client.CloseIdleConnections()
}
