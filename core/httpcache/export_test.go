package httpcache

// Waiting is how many requests wait for one that another makes.
func Waiting(c *Cache) int {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	n := 0
	for _, f := range c.flights.all {
		n += f.waiting
	}
	return n
}
