package ratelimit

// Remembered is how many clients are in memory.
func (l *Limit) Remembered() (n int) {
	m := l.times.(*memory)
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += len(m.shards[i].busy)
		m.shards[i].mu.Unlock()
	}
	return n
}
