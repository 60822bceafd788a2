package services

import (
	"context"
	"errors"
	"maps"
)

// HandOver stops every service, since another process is about to start them, and returns those that RPC has created. resume starts all
// again, for when nothing came of it; it is never nil.
func (m *Manager) HandOver(ctx context.Context) (created map[string]Config, resume func() error, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	created = map[string]Config{}
	for name, s := range m.running {
		if s.created {
			created[name] = s.cfg
		}
	}
	before := m.applied
	resume = func() error {
		err := m.Apply(context.WithoutCancel(ctx), before)
		for name, c := range created {
			err = errors.Join(err, m.Create(name, c))
		}
		return err
	}
	if m.stopped {
		return nil, func() error { return nil }, errStopped
	}
	err = m.stopAll(ctx, maps.Clone(m.running))
	m.applied = nil
	return created, resume, err
}
