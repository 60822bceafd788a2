//go:build !linux

package main

// drink reads from all connections until close.
func (c *crowd) drink() error {
	for _, conn := range c.conns {
		socket := conn.NetConn()
		c.drinking.Go(func() {
			b := make([]byte, 4<<10)
			for {
				n, err := socket.Read(b)
				if err != nil {
					return
				}
				c.took(n)
			}
		})
	}
	return nil
}
