package php_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// TestSoakNothingStalls mixes bodies that are larger than a packet, which hold a worker's pipe for themselves, with requests that
// go ahead, from more clients than there are workers: a wake-up that is lost leaves all of them waiting for the queue's deadline.
func TestSoakNothingStalls(t *testing.T) {
	t.Parallel()
	const (
		clients  = 16
		patience = time.Minute // a machine under load takes its time; what is lost takes queue.timeout
	)
	w := newWorld(t, "sdk.php", func(c *php.Config, o *php.Options) {
		workers(2, 2)(c, o)
		c.Queue.Timeout = 2 * patience
	})
	w.start()
	large := strings.Repeat("0123456789abcde\n", 4<<10)
	until := time.Now().Add(testenv.Duration(time.Second, 5*time.Minute))
	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() { // ends when the time is over
			for i := 0; time.Now().Before(until) && !t.Failed(); i++ {
				body := "small"
				if (client+i)%3 != 0 {
					body = large
				}
				begun := time.Now()
				if err := w.echo(1_000_000*client+i, body); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took > patience {
					t.Errorf("client %d: request %d, of %d bytes, took %s: %+v", client, i, len(body), took, w.pool.Stats())
				}
			}
		})
	}
	group.Wait()
}
