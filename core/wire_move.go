package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/edge-server/edge/core/upgrade"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/boltdb"
	"github.com/edge-server/edge/kv/handover"
	"github.com/edge-server/edge/kv/memory"
)

// Stores that only one process can have move to the new process in an upgrade; see package handover.

// movedStore is what the old process says of a store that moves.
type movedStore struct {
	Driver string `json:"driver"`
	Can    kv.Can `json:"can"`
	File   string `json:"file,omitempty"` // of a boltdb store
}

// moving is a store of this process that can move.
type moving struct {
	store  *handover.Store
	driver string
	file   string // of a boltdb store
	local  kv.Store
	open   func(context.Context) (kv.Store, error) // of a file: opens it again
}

// openMoving opens a driver that only one process can have; or, while an older process has it, a store whose calls go there.
func (e *Edge) openMoving(ctx context.Context, cfg *Config, name string, open func(context.Context) (kv.Store, error)) (kv.Store, error) {
	if store, err := e.comesLater(ctx, cfg, name, open); store != nil || err != nil {
		return store, err
	}
	driver, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return e.canMove(cfg, name, driver, open), nil
}

// canMove puts what is needed for a move before a driver, when there may be one.
func (e *Edge) canMove(cfg *Config, name string, driver kv.Store, open func(context.Context) (kv.Store, error)) kv.Store {
	if e.opts.Successor == nil {
		return driver
	}
	m := &moving{store: handover.New(name, driver), driver: cfg.KV[name].Driver, local: driver, open: open}
	if m.driver == "boltdb" {
		m.file = filePath(boltConfig(cfg, cfg.KV[name]).File)
	}
	e.keepMoving(name, m)
	return m.store
}

func (e *Edge) keepMoving(name string, m *moving) {
	e.movingMu.Lock()
	defer e.movingMu.Unlock()
	if e.moving == nil {
		e.moving = map[string]*moving{}
	}
	e.moving[name] = m
}

// findMoving is for links.
func (e *Edge) findMoving(name string) *handover.Store {
	e.movingMu.Lock()
	defer e.movingMu.Unlock()
	if name == mercureHub && e.mercure != nil {
		return handover.New(name, hubStore{hub: e.mercure})
	}
	if name == pusherPeer && e.pusher != nil {
		return handover.New(name, peerStore{serve: func(ctx context.Context, news []byte) ([]byte, error) { return nil, e.pusher.Accept(ctx, news) }})
	}
	if name == wsPeer && e.hub != nil {
		return handover.New(name, peerStore{serve: e.hub.Serve})
	}
	if m := e.moving[name]; m != nil {
		return m.store
	}
	return nil
}

// filePath names a file in one way.
func filePath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// comesLater is a store that an older process still has: its calls go there until this process takes over. Nil: it has it not.
func (e *Edge) comesLater(ctx context.Context, cfg *Config, name string, open func(context.Context) (kv.Store, error)) (kv.Store, error) {
	if e.legacy == nil {
		return nil, nil
	}
	c, said := cfg.KV[name], e.legacy.said.Stores
	m := &moving{driver: c.Driver}
	var can kv.Can
	switch c.Driver {
	case "boltdb":
		m.file, m.open = filePath(boltConfig(cfg, c).File), open
		held := func(s movedStore) bool { return s.Driver == "boltdb" && s.File == m.file }
		if !slices.ContainsFunc(slices.Collect(maps.Values(said)), held) {
			return nil, nil
		}
		can = (*boltdb.Store)(nil).Can()
	case "memory", "wasm":
		old, there := said[name]
		if !there || old.Driver != c.Driver {
			return nil, nil
		}
		local, err := open(ctx)
		if err != nil {
			return nil, err
		}
		if !handover.Movable(local.Can()) || !handover.Movable(old.Can) {
			return e.canMove(cfg, name, local, open), nil
		}
		m.local, can = local, local.Can()
	default:
		return nil, nil
	}
	if err := e.dialStores(); err != nil {
		return nil, err
	}
	m.store = handover.Elsewhere(name, can, e.link)
	e.keepMoving(name, m)
	return m.store, nil
}

// dialStores connects to the stores of the older process.
func (e *Edge) dialStores() error {
	if e.link != nil {
		return nil
	}
	conn, err := net.FileConn(e.legacy.files[1])
	e.legacy.files[1].Close()
	if err != nil {
		return fmt.Errorf("connect to the stores of the older edge: %w", err)
	}
	e.link = handover.NewLink(conn, e.findMoving)
	return nil
}

// takeStores makes the stores of the older process those of this one, which has let go of them.
func (e *Edge) takeStores(ctx context.Context, g given, files []*os.File) error {
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(files) != len(g.Stores) {
		return fmt.Errorf("the contents of %d stores came in %d files", len(g.Stores), len(files))
	}
	for i, name := range g.Stores {
		m := e.moving[name]
		if m == nil || m.local == nil { // edge.yaml does not know it any more, or not as it was
			continue
		}
		if err := handover.Read(ctx, files[i], m.local); err != nil {
			return fmt.Errorf("take over store %q: %w", name, err)
		}
	}
	for name, m := range e.moving {
		if _, still := handover.Away(m.store); !still {
			continue
		}
		if m.local == nil {
			var err error
			if m.local, err = m.open(ctx); err != nil {
				return fmt.Errorf("take over store %q: %w", name, err)
			}
		}
		m.store.Go(m.local)
	}
	if e.mercure != nil {
		return e.mercure.TakeOver()
	}
	return nil
}

// returnStores closes what takeStores has opened, so that the older process can have it again.
func (e *Edge) returnStores(ctx context.Context) error {
	var errs []error
	if e.mercure != nil {
		errs = append(errs, e.mercure.Hold())
	}
	for _, m := range e.moving {
		if m.file != "" && m.local != nil {
			errs = append(errs, m.local.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

// move is the way of the stores from this process to a new one.
type move struct {
	edge  *Edge
	other *os.File
	link  *handover.Link
	given map[string]*moving // that are frozen
	rooms bool               // those of WebSockets are held
}

func (e *Edge) newMove() (*move, error) {
	m := &move{edge: e, given: map[string]*moving{}}
	mine, other, err := upgrade.SocketPair()
	if err != nil {
		return nil, err
	}
	conn, err := net.FileConn(mine)
	mine.Close()
	if err != nil {
		return nil, errors.Join(err, other.Close())
	}
	m.other, m.link = other, handover.NewLink(conn, e.findMoving)
	return m, nil
}

func (m *move) describe() map[string]movedStore {
	stores := map[string]movedStore{}
	for name, s := range m.edge.moving {
		stores[name] = movedStore{Driver: s.driver, Can: s.store.Can(), File: s.file}
	}
	return stores
}

// give stops all calls, closes the files and sends what is in memory. The calls go on when the new process has taken over, or when abandon
// is called.
func (m *move) give(ctx context.Context, next *upgrade.Successor, g *given) error {
	for name, s := range m.edge.moving {
		m.given[name] = s
		if err := s.store.Freeze(ctx); err != nil {
			return err
		}
	}
	for name, s := range m.given {
		switch {
		case s.file != "":
			if err := s.local.Close(ctx); err != nil {
				return fmt.Errorf("close store %q: %w", name, err)
			}
			s.local = nil
		case handover.Movable(s.local.Can()):
			g.Stores = append(g.Stores, name)
		}
	}
	if hub := m.edge.mercure; hub != nil {
		if err := hub.Hold(); err != nil {
			return err
		}
	}
	if err := m.giveRooms(ctx); err != nil {
		return err
	}
	return m.sendContents(ctx, next, g)
}

func (m *move) sendContents(ctx context.Context, next *upgrade.Successor, g *given) error {
	var fds []int
	var ins, outs []*os.File
	defer func() {
		for _, f := range append(ins, outs...) {
			f.Close()
		}
	}()
	for range g.Stores {
		out, in, err := os.Pipe()
		if err != nil {
			return err
		}
		ins, outs = append(ins, in), append(outs, out)
		fds = append(fds, int(out.Fd()))
	}
	if err := next.Send(upgrade.KindTake, *g, fds...); err != nil {
		return err
	}
	for _, out := range outs {
		out.Close()
	}
	for i, name := range g.Stores {
		in := ins[i]
		stop := context.AfterFunc(ctx, func() { in.Close() }) // the new process hangs
		err := handover.Write(ctx, in, m.given[name].local)
		stop()
		if err := errors.Join(err, in.Close()); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("hand over store %q: %w", name, err)
		}
	}
	return nil
}

// done lets the calls go on, to the new process.
func (m *move) done() {
	m.other.Close()
	e := m.edge
	if e.link = m.link; len(m.given) == 0 && e.mercure == nil && !m.rooms {
		m.link.Close()
	}
	if m.rooms {
		e.rooms().GoTo(peerBy(wsPeer, m.link))
		if e.pusher != nil {
			tell := peerBy(pusherPeer, m.link)
			e.pusher.Leave(func(ctx context.Context, news []byte) error {
				_, err := tell(ctx, news)
				return err
			})
		}
	}
	if e.mercure != nil {
		e.mercure.Leave(forwardTo(m.link))
	}
	for name, s := range m.given {
		if s.file == "" && !handover.Movable(s.store.Can()) {
			s.store.Go(s.local) // it cannot be moved: each process has its own
			continue
		}
		s.store.Leave(m.link)
		if s.local == nil {
			continue
		}
		if kept, ok := s.local.(*memory.Store); ok {
			kept.GiveAway()
		}
		if err := s.local.Close(context.WithoutCancel(e.life)); err != nil {
			e.log.Warn("a store that the new edge has does not close here", "store", name, "error", err)
		}
	}
}

// abandon lets the calls go on here.
func (m *move) abandon() error {
	m.other.Close()
	var errs []error
	if m.rooms {
		m.edge.rooms().Resume()
	}
	for name, s := range m.given {
		if s.local == nil {
			local, err := s.open(context.WithoutCancel(m.edge.life))
			if err != nil {
				errs = append(errs, fmt.Errorf("open store %q again: %w", name, err))
				continue // its calls go on to fail
			}
			s.local = local
		}
		s.store.Go(s.local)
	}
	if hub := m.edge.mercure; hub != nil {
		errs = append(errs, hub.Resume(context.WithoutCancel(m.edge.life)))
	}
	return errors.Join(append(errs, m.link.Close())...)
}

func (m *move) fd() int { return int(m.other.Fd()) }
