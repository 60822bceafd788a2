package core

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/core/httpserver"
	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/core/upgrade"
)

// An upgrade, as both processes see it; package upgrade says what they tell each other.
//
//	old  Upgrade    starts the new one and waits until it is ready; hand over; release; then Stop drains, as every stop does
//	new  inherit    what there is to begin with
//	     takeOver   when every part runs: says ready, gets what only one process can have, serves

// upgradeTimeout is how long a new process may take until it serves, when nobody says otherwise.
const upgradeTimeout = time.Minute

// handedOver is what the old process says first. Its files are the lock of the state folder, the connection of the stores, and those
// of httpserver.
type handedOver struct {
	PID    int                   `json:"pid"`
	Stores map[string]movedStore `json:"stores,omitempty"`
	HTTP   httpserver.Legacy     `json:"http"`

	// Mercure says that it has a hub, which moves.
	Mercure bool `json:"mercure,omitempty"`

	// WS says that it has WebSockets whose rooms are in it alone, which move.
	WS bool `json:"ws,omitempty"`
}

// given is what the old process says when it has let go of what only one can have.
type given struct {
	Services map[string]services.Config `json:"services,omitempty"` // that RPC has created
	Stores   []string                   `json:"stores,omitempty"`   // whose contents are in the files, in this order
}

// legacy is what this process has of an older one.
type legacy struct {
	from  *upgrade.Predecessor
	said  handedOver
	files []*os.File
}

// firstOfHTTP is where the files of httpserver begin.
const firstOfHTTP = 2

func (l *legacy) stateLock() *os.File {
	if l == nil {
		return nil
	}
	return l.files[0]
}

func (l *legacy) http() httpserver.Legacy {
	if l == nil {
		return httpserver.Legacy{}
	}
	return l.said.HTTP
}

// inherit reads what an older process has handed over. Without one there is nothing.
func (e *Edge) inherit(from *upgrade.Predecessor) error {
	if from == nil {
		return nil
	}
	l := &legacy{from: from}
	files, err := from.Begin(&l.said)
	if want := firstOfHTTP + len(l.said.HTTP.QUIC); err == nil && len(files) != want {
		err = fmt.Errorf("%d files came where %d were expected", len(files), want)
	}
	if err != nil {
		return fmt.Errorf("what the older edge hands over: %w", err)
	}
	l.files = files
	l.said.HTTP.Files = files[firstOfHTTP:]
	e.legacy, e.sockets = l, from.Sockets()
	return nil
}

// workerSocket is where the workers of a process that takes the place of another call: what RPC is known by belongs to the other one
// until this one serves.
func (e *Edge) workerSocket(cfg *Config) string {
	if e.legacy == nil {
		return ""
	}
	return filepath.Join(cfg.StateDir, "rpc-"+strconv.Itoa(os.Getpid())+".sock")
}

// sweepWorkerSockets removes those that killed processes have left. It is called by who has the state folder for itself.
func sweepWorkerSockets(stateDir string) {
	left, _ := filepath.Glob(filepath.Join(stateDir, "rpc-[0-9]*.sock")) // the pattern is well
	for _, path := range left {
		_ = os.Remove(path) // it is in nobody's way
	}
}

// takeOver takes the place of the older process, if there is one. Every part runs; no socket accepts yet.
func (e *Edge) takeOver(ctx context.Context) error {
	if e.legacy == nil {
		return nil
	}
	from := e.legacy.from
	if err := e.healthy(); err != nil {
		return fmt.Errorf("not ready to take over: %w", err)
	}
	if err := from.Send(upgrade.KindReady, upgrade.Ready{PID: os.Getpid(), Version: Version}); err != nil {
		return fmt.Errorf("tell the older edge that this one is ready: %w", err)
	}
	var g given
	files, err := from.Receive(ctx, upgrade.KindTake, &g)
	if err != nil {
		return fmt.Errorf("wait for the older edge to hand over: %w", err)
	}
	if err := e.takeStores(ctx, g, files); err != nil {
		return err
	}
	if err := e.lock.sign(); err != nil {
		e.log.Warn("the lock file names the older edge", "error", err)
	}
	if err := from.Taken(); err != nil {
		return errors.Join(err, e.returnStores(ctx))
	}

	// Nothing leads back from here.
	if rooms := e.rooms(); rooms != nil && e.legacy.said.WS {
		rooms.Follow(peerBy(wsPeer, e.link))
	}
	e.sockets.Open()
	e.takeServices(ctx, g.Services)
	e.log.Info("edge has taken over", "from", e.legacy.said.PID, "pid", os.Getpid())
	link, ended := e.link, make(chan struct{}) // another upgrade makes another link
	e.older = ended
	go func() { // ends with the older process, or with this one
		defer close(ended)
		_, err := from.Receive(e.life, "nothing more", nil)
		e.lock.share(false)
		from.Close()
		if rooms := e.rooms(); rooms != nil {
			rooms.Follow(nil)
		}
		if link != nil {
			link.Close()
		}
		e.log.Debug("the older edge has ended", "reason", err)
	}()
	return nil
}

// healthy is what a check for readiness would be told.
func (e *Edge) healthy() error {
	var errs []error
	for name, pool := range e.world.Load().pools {
		if s := pool.Stats(); s.Failures > 0 && s.Idle+s.Busy == 0 {
			errs = append(errs, fmt.Errorf("php pool %s: %s", name, s.LastError))
		}
	}
	return errors.Join(errs...)
}

// takeServices starts what runs beside PHP: the older process has stopped its own.
func (e *Edge) takeServices(ctx context.Context, created map[string]services.Config) {
	err := e.services.Apply(ctx, e.Config().Services)
	for name, c := range created {
		err = errors.Join(err, e.services.Create(name, c))
	}
	if err != nil {
		e.log.Error("not every service runs after the upgrade", "error", err)
	}
}

// Upgrade starts binary (empty: the file that this process was started from, as it is now) with the arguments and the environment of this
// process, and lets it take over when it is ready. When that fails, for whatever reason, this process serves on. When it has succeeded, Wait
// returns and the new process has every socket; what is left here is to stop.
func (e *Edge) Upgrade(ctx context.Context, binary string, timeout time.Duration) (upgrade.Ready, error) {
	ready, err := e.tryUpgrade(ctx, binary, timeout)
	if err != nil {
		e.log.Error("upgrade failed, this edge serves on", "pid", os.Getpid(), "error", err)
		return ready, fmt.Errorf("upgrade failed, the running edge (pid %d) serves on: %w", os.Getpid(), err)
	}
	return ready, nil
}

func (e *Edge) tryUpgrade(ctx context.Context, binary string, timeout time.Duration) (ready upgrade.Ready, err error) {
	opts, err := e.successor(binary)
	if err != nil {
		return ready, err
	}
	if timeout <= 0 {
		timeout = upgradeTimeout
	}
	e.mu.Lock() // no reload, no stop of the workers
	defer e.mu.Unlock()
	if e.isReplaced() || !e.ready.Load() {
		return ready, errors.New("this edge is starting, stopping, or has been replaced")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it does not serve after %s", timeout))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(e.life, func() { stop(errors.New("edge is stopping")) })()

	began := time.Now()
	e.log.Info("upgrade: a new process starts", "binary", opts.Binary)
	move, err := e.newMove()
	if err != nil {
		return ready, err
	}
	next, err := upgrade.Start(opts, e.sockets)
	if err != nil {
		return ready, errors.Join(err, move.abandon())
	}
	if ready, err = e.handOver(ctx, next, move); err != nil {
		err = next.Fail(err)
		e.lock.share(false)
		return ready, errors.Join(err, e.lock.sign(), move.abandon())
	}
	move.done()
	e.release(next)
	e.log.Info("upgrade: the new process serves", "pid", ready.PID, "version", ready.Version, "took", time.Since(began).Round(time.Millisecond))
	return ready, nil
}

// successor says what is started.
func (e *Edge) successor(binary string) (opts upgrade.Options, err error) {
	switch {
	case upgrade.Supported() != nil:
		return opts, upgrade.Supported()
	case e.opts.Successor == nil:
		return opts, errors.New("this edge was not started by `edge serve`: there is nothing to start in its place")
	case os.Getpid() == 1:
		return opts, errors.New("this edge is process 1: its end would end the container; replace the container, or start edge below an init (docker run --init)")
	case binary != "" && e.Config().Admin.Listen != "unix":
		return opts, errors.New("--binary needs admin.listen: unix: over the network nobody says which program runs here")
	}
	opts = *e.opts.Successor
	if binary != "" {
		opts.Binary = binary
	}
	if !filepath.IsAbs(opts.Binary) {
		return opts, fmt.Errorf("the binary %q needs an absolute path", opts.Binary)
	}
	if info, err := os.Stat(opts.Binary); err != nil {
		return opts, fmt.Errorf("the new binary: %w", err)
	} else if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return opts, fmt.Errorf("the new binary: %s cannot be executed", opts.Binary)
	}
	return opts, nil
}

// handOver returns when the new process serves. On an error everything is as it was.
func (e *Edge) handOver(ctx context.Context, next *upgrade.Successor, move *move) (ready upgrade.Ready, err error) {
	if err := e.sendBeginning(next, move); err != nil {
		return ready, err
	}
	if _, err := next.Receive(ctx, upgrade.KindReady, &ready); err != nil {
		return ready, err
	}
	var g given
	created, resume, err := e.services.HandOver(ctx)
	if err != nil {
		return ready, errors.Join(err, resume())
	}
	g.Services = created
	err = move.give(ctx, next, &g)
	if err == nil {
		_, err = next.Receive(ctx, upgrade.KindTaken, nil)
	}
	if err != nil {
		return ready, errors.Join(err, resume())
	}
	return ready, nil
}

func (e *Edge) sendBeginning(next *upgrade.Successor, move *move) error {
	h := handedOver{PID: os.Getpid(), Stores: move.describe(), Mercure: e.mercure != nil, WS: e.rooms() != nil}
	if e.http != nil {
		var err error
		if h.HTTP, err = e.http.Legacy(); err != nil {
			return err
		}
		defer h.HTTP.Close()
	}
	fds := []int{e.lock.fd(), move.fd()}
	for _, f := range h.HTTP.Files {
		fds = append(fds, int(f.Fd()))
	}
	e.lock.share(true)
	return next.Send(upgrade.KindBegin, h, fds...)
}

// release leaves everything to the new process; what is under way here goes on.
func (e *Edge) release(next *upgrade.Successor) {
	e.sockets.Release()
	if e.http != nil {
		e.http.Leave()
	}
	e.systemd.tell("MAINPID=" + strconv.Itoa(next.PID()))
	close(e.replaced)
}

func (e *Edge) isReplaced() bool {
	select {
	case <-e.replaced:
		return true
	default:
		return false
	}
}

// upgradeBy is Upgrade for the admin API.
func (e *Edge) upgradeBy(ctx context.Context, binary string, timeout time.Duration) (admin.Upgraded, error) {
	began := time.Now()
	ready, err := e.Upgrade(ctx, binary, timeout)
	return admin.Upgraded{PID: ready.PID, Version: ready.Version, Took: time.Since(began)}, err
}
