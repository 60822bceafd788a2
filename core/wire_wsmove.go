package core

import (
	"context"
	"errors"
	"time"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/handover"
	"github.com/edge-server/edge/ws"
)

// By these names WebSockets are called over the link of an upgrade. No store can have them.
const wsPeer, pusherPeer = "/ws", "/pusher"

// peerStore lets the other process of an upgrade ask something, over the link that stores move by: to get is to ask.
type peerStore struct {
	kv.Store // nil: nothing else is asked
	serve    func(ctx context.Context, request []byte) ([]byte, error)
}

func (peerStore) Can() kv.Can { return 0 }

func (s peerStore) Get(ctx context.Context, items []kv.Item) error {
	for i := range items {
		answer, err := s.serve(ctx, []byte(items[i].Key))
		if err != nil {
			return err
		}
		items[i].Value, items[i].Found = answer, true
	}
	return nil
}

// peerPatience is how long an answer of the other process may take.
const peerPatience = 10 * time.Second

// peerBy asks the other end of link.
func peerBy(name string, link *handover.Link) ws.Peer {
	there := handover.Elsewhere(name, 0, link)
	return func(ctx context.Context, request []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, peerPatience, errors.New("the other edge of the upgrade does not answer"))
		defer cancel()
		items := []kv.Item{{Key: string(request)}}
		if err := there.Get(ctx, items); err != nil {
			return nil, err
		}
		return items[0].Value, nil
	}
}

// rooms is the broker of WebSockets when it is in this process alone, or nil.
func (e *Edge) rooms() *ws.Memory {
	if e.hub == nil {
		return nil
	}
	return e.hub.Memory()
}

// giveRooms sends the histories of WebSockets to the new process, while who publishes waits. One that has no WebSockets gets none.
func (m *move) giveRooms(ctx context.Context) error {
	rooms := m.edge.rooms()
	if rooms == nil {
		return nil
	}
	rooms.Hold()
	m.rooms = true
	err := rooms.Give(ctx, peerBy(wsPeer, m.link))
	if errors.Is(err, kv.ErrUnavailable) && ctx.Err() == nil {
		m.edge.log.Debug("upgrade: the new process has no WebSockets, or another version of them", "error", err)
		m.rooms = false
		rooms.Resume()
		return nil
	}
	return err
}
