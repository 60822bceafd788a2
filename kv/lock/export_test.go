package lock

// Entries is what the bound counts.
func (m *Memory) Entries() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries
}
