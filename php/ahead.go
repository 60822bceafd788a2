package php

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

// Waking a sleeping process costs more than a short request. So a worker of sdk/php on pipes gets its next requests while it works
// on one: they lie in its pipe, and when it is done it reads the next without going to sleep. The handler that brings a request
// writes it, and the worker's goroutine only reads answers, several at a time when PHP was quick.
//
// A request must never be stuck behind a slow one. The pipe is in the kernel's packet mode, so PHP reads exactly one request at
// a time, and the server, which has a descriptor of the reading end, too, can read back what PHP has not taken (takeBack): a read
// gives each packet to one reader, so there is no moment at which both have it. What is taken back goes to an idle worker, or to the
// front of the queue. That happens when
//   - a request runs longer than pace.patience while others lie behind it (rescue),
//   - a worker has nothing to do and another has had one for a while (steal),
//   - an answer becomes a stream, which can last,
//   - the worker dies: only the request that PHP had read fails with it,
//   - PHP does not come back for it. An application may work on after its answer, which Symfony and Laravel call terminate, and
//     nothing says so: the worker is free, gets the next request, and does not read it. When another worker could have it, or after
//     a few milliseconds in any case, it is taken back, and the worker counts as busy until it is back: see sendAway.
//
// A worker gets something ahead only while its requests take less than pace.short on average and nothing waits in the queue for
// longer. Idle workers go first, unless the busy one is so quick that waking another would take longer (hot). Waiting in a pipe is
// therefore bounded by a few milliseconds, after which the queue's rules hold: its deadline, its fairness, growth of the pool,
// clients that left. Only a request larger than a packet waits for a worker that works on after an answer.
//
// Each request has a number that its answer repeats, in a byte of the header which the protocol leaves free: an answer that belongs
// to no request of the worker ends the worker instead of reaching a client.
//
// pace.short is how long requests may take on average for the next to be sent ahead, and pace.patience how long one may run before
// those behind it are taken back.
const (
	// maxAhead is how many requests a worker has at most, with the one it works on.
	maxAhead = 8
	// firstService is how long requests are thought to take before the first.
	firstService = int64(2 * time.Millisecond)
	// hotService is how long requests may take on average where waking a sleeping process takes longer.
	hotService = int64(50 * time.Microsecond)
	// stealAfter is what a request has to run longer than its worker's usual ones before an idle worker takes what lies behind it.
	stealAfter = int64(100 * time.Microsecond)
	// quietTicks is how many looks without anything to look at make rescue sleep.
	quietTicks = 5
	// unmoved is how many times pace.patience a request lies unread before it goes to the queue, where no other worker is idle.
	unmoved = 10
	// maxMoves bounds the growth of that patience, and of the one where another is idle: each time that a request was taken back
	// unread it becomes four times as much. Where PHP is only slow to wake, as on a machine with too much to do, a request must not
	// move on for ever.
	maxMoves = 5
	// unsent in ahead.sent means that nothing of the frame was written.
	unsent = -2
	// maxNumbers is how many numbers may have been given since the oldest request of a flight: no two have the same.
	maxNumbers = 200
	// writerPoll is how often an answer looks whether its request is written.
	writerPoll = time.Millisecond
	// packetMax is what the kernel keeps together as a packet (PIPE_BUF).
	packetMax = 4096
)

// featureAhead is announced by workers that repeat numbers, and that give back a request which they read while they stream.
const featureAhead = "ahead"

// ahead is the state of a worker that gets requests ahead. What is no atomic and changes is protected by Pool.mu.
type ahead struct {
	pipe    *packetPipe
	shared  *shared      // for bodies of answers; nil for workers that do not have it
	writers atomic.Int32 // that write into the pipe now
	sent    atomic.Int64 // bytes of the large frame

	flight    []*job // what was given to the worker, oldest first; PHP has the first or is about to
	number    byte   // of the last request
	turn      int64  // since when PHP has the first
	taken     int64  // the turn of which it is known that PHP has read the first
	service   int64  // how long requests take, an average in which new ones weigh more
	large     bool   // flight is one frame that is larger than a packet
	streaming bool   // PHP's turn goes on without a job
	away      bool   // so it does, after an answer: see sendAway
	closed    bool   // it gets nothing any more
}

// goAhead makes a worker one that gets requests ahead, where the system can do that.
func (w *worker) goAhead(features []string) {
	pipe := openPackets(w.relay)
	if pipe == nil {
		return
	}
	w.ahead = &ahead{pipe: pipe, service: firstService, flight: make([]*job, 0, maxAhead)}
	if r, ok := w.relay.(*pipeRelay); ok && slices.Contains(features, featureShared) {
		w.ahead.shared = r.shared
	}
}

// active reports whether PHP has something to do. Pool.mu is held.
func (a *ahead) active() bool { return len(a.flight) > 0 || a.streaming || a.away }

// room reports whether the worker takes another request behind the one it has.
func (w *worker) room(now int64) bool {
	a := w.ahead
	return a != nil && !a.closed && !w.retire && !a.large && !a.streaming && a.service < int64(w.pool.pace.short) && now-a.turn < int64(w.pool.pace.patience) &&
		len(a.flight) > 0 && len(a.flight) < maxAhead && w.fits() && a.number-a.flight[0].number < maxNumbers
}

// packet reports whether the job's frame is one packet for a worker of that dialect.
func (j *job) packet(to dialect) bool {
	return j.file == nil && j.dialect == to && len(j.buf)-fenceLen <= packetMax
}

// assign gives a job to a worker that takes requests ahead. The caller calls w.put once it let go of p.mu, which is held here.
func (p *Pool) assign(w *worker, j *job, now int64) {
	a := w.ahead
	a.number++
	if a.number == 0 {
		a.number = 1
	}
	j.number = a.number
	j.slot = a.shared.free(a.flight)
	if len(a.flight) == 0 {
		a.turn = now
		a.large = !j.packet(w.speaks)
		if a.large {
			a.sent.Store(unsent)
		}
		p.beginAt(w, now)
		w.busy.Store(now)
	} else {
		p.extra++
	}
	if !p.rescuing {
		p.rescuing = true
		p.rescueWake <- struct{}{} // has room: rescue took the last one before it cleared rescuing
	}
	j.sealed.Store(false)
	a.flight = append(a.flight, j)
	a.writers.Add(1)
}

// put writes the frame of a job that was assigned. As soon as it is written the job may be answered and gone.
func (w *worker) put(j *job) {
	j.speak(w.speaks)
	b, _, err := j.frameFor(true, 0)
	if err == nil {
		b = b[fenceLen:]
		frame.SetStream(b, j.slot<<slotShift)
		j.sealed.Store(true) // what was written here is seen by whoever takes the packet back
		if len(b) > packetMax {
			var n int
			n, err = w.relay.Write(b)
			w.ahead.sent.Store(int64(n))
		} else {
			if w.ahead.sent.Load() == unsent { // it became small in the dialect of this worker
				w.ahead.sent.Store(int64(len(b)))
			}
			err = w.ahead.pipe.write(b)
		}
	}
	w.ahead.writers.Add(-1)
	if err != nil {
		w.proc.kill() // its goroutine sees to the job
	}
}

// hot finds a busy worker that is sooner done with what it has than an idle one is awake. p.mu is held.
func (p *Pool) hot(j *job, now int64) *worker {
	if w := p.roomy(j, now); w != nil && w.ahead.service < hotService && now-w.ahead.turn < 2*hotService {
		return w
	}
	return nil
}

// roomy finds a busy worker that takes the job into its pipe. p.mu is held.
func (p *Pool) roomy(j *job, now int64) *worker {
	const look = 8
	n := len(p.workers)
	for range min(n, look) {
		p.next++
		if w := p.workers[p.next%uint(n)]; w.room(now) && j.packet(w.speaks) {
			return w
		}
	}
	return nil
}
