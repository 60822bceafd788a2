package lock

import "context"

// Entries is what the bound counts.
func (m *Memory) Entries() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries
}

// Waiting is how many wait for the resource.
func (m *Memory) Waiting(_ context.Context, name string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if res := m.resources[name]; res != nil {
		return len(res.queue), nil
	}
	return 0, nil
}

// Waiting is how many wait for the resource.
func (s *Shared) Waiting(ctx context.Context, name string) (n int, err error) {
	err = s.change(ctx, name, func(st *state, _ int64) (bool, error) {
		n = len(st.Queue)
		return false, nil
	})
	return n, err
}
