package php

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
func (w *worker) goAhead() {
	if pipe := openPackets(w.relay); pipe != nil {
		w.ahead = &ahead{pipe: pipe, service: firstService, flight: make([]*job, 0, maxAhead)}
	}
}

// active reports whether PHP has something to do. Pool.mu is held.
func (a *ahead) active() bool { return len(a.flight) > 0 || a.streaming || a.away }

// room reports whether the worker takes another request behind the one it has.
func (w *worker) room(now int64) bool {
	a := w.ahead
	return a != nil && !a.closed && !w.retire && !a.large && !a.streaming && a.service < int64(w.pool.pace.short) && now-a.turn < int64(w.pool.pace.patience) &&
		len(a.flight) > 0 && len(a.flight) < maxAhead && a.number-a.flight[0].number < maxNumbers
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

// give hands a job that no worker has to an idle worker, or puts it before all that wait. It returns the worker when it is the
// caller's to write the job. p.mu is held.
func (p *Pool) give(j *job, now int64) *worker {
	switch {
	case p.isForced():
		j.finish(ErrStopped)
		return nil
	case j.gone:
		j.finish(context.Canceled)
		return nil
	}
	n := len(p.idle)
	if n == 0 {
		p.queue.pushFront(j)
		return nil
	}
	w := p.idle[n-1]
	p.idle = p.idle[:n-1]
	if w.ahead != nil {
		p.assign(w, j, now)
		return w
	}
	p.beginAt(w, now)
	w.jobs <- j
	return nil
}

// takeBack reads back the oldest request that PHP has not taken. Nil means that there is none. p.mu is held.
func (p *Pool) takeBack(w *worker) *job {
	a := w.ahead
	for !a.large && !a.streaming && !a.away { // what the server says about a stream must reach PHP
		n := a.pipe.takeBack(p.scratch[:])
		if n <= 0 {
			return nil
		}
		// What PHP left of a stream that is over stands before it, and is not worth keeping.
		for b := p.scratch[:n]; len(b) >= frame.HeaderLen; {
			h, rest, ok := frame.Cut(b)
			if !ok {
				break
			}
			b = rest
			if h.Number == 0 {
				continue
			}
			if j := p.land(w, h.Number); j != nil {
				return j
			}
		}
	}
	return nil
}

// land takes a job out of the flight by its number. p.mu is held.
func (p *Pool) land(w *worker, number byte) *job {
	a := w.ahead
	for i, j := range a.flight {
		if j.number == number && j.sealed.Load() { // otherwise its frame is not written yet, and somebody is about to
			if len(a.flight) > 1 {
				p.extra--
			}
			a.flight = slices.Delete(a.flight, i, i+1)
			return j
		}
	}
	return nil
}

// written is jobs whose frames are to be written once Pool.mu is free. Nothing of it is allocated.
type written struct {
	n    int
	jobs [2 * maxAhead]*job
	to   [2 * maxAhead]*worker
}

func (t *written) add(w *worker, j *job) {
	t.jobs[t.n], t.to[t.n] = j, w
	t.n++
}

func (t *written) put() {
	for i := range t.n {
		t.to[i].put(t.jobs[i])
	}
}

// takeBackAll hands on what PHP has not taken of a worker, but leaves it that many jobs. PHP may not even have begun with the
// first. p.mu is held.
func (p *Pool) takeBackAll(w *worker, leave int, now int64, out *written) {
	var back [maxAhead]*job
	n := 0
	for len(w.ahead.flight) > leave {
		j := p.takeBack(w)
		if j == nil {
			break
		}
		back[n] = j
		n++
	}
	p.giveAll(back[:n], now, out)
}

// giveAll is give for several jobs, the oldest first.
func (p *Pool) giveAll(back []*job, now int64, out *written) {
	for i, j := range back {
		if len(p.idle) == 0 {
			for _, j := range slices.Backward(back[i:]) { // each goes before the one after it
				p.give(j, now)
			}
			return
		}
		if w := p.give(j, now); w != nil {
			out.add(w, j)
		}
	}
}

// rescue takes requests back that lie behind one that takes long, or that PHP does not come back for. It ends with the pool's life,
// and sleeps while no worker has anything.
func (p *Pool) rescue() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-p.rescueWake:
		case <-p.life.Done():
			return
		}
		for quiet := 0; quiet < quietTicks; {
			timer.Reset(p.pace.patience)
			select {
			case <-timer.C:
			case <-p.life.Done():
				return
			}
			if quiet++; p.rescueOnce() {
				quiet = 0
			}
		}
		p.mu.Lock()
		p.rescuing = p.watched()
		again := p.rescuing
		p.mu.Unlock()
		if again {
			p.rescueWake <- struct{}{}
		}
	}
}

// watched reports whether there is anything to rescue. p.mu is held.
func (p *Pool) watched() bool {
	return p.extra > 0 || slices.ContainsFunc(p.workers, func(w *worker) bool { return w.ahead != nil && w.ahead.unread() })
}

// unread reports whether PHP may not have read the oldest request. Pool.mu is held.
func (a *ahead) unread() bool {
	return len(a.flight) > 0 && a.taken != a.turn && !a.large && !a.streaming && !a.closed
}

// rescueOnce reports whether there was anything to look at.
func (p *Pool) rescueOnce() bool {
	p.mu.Lock()
	if !p.watched() {
		p.mu.Unlock()
		return false
	}
	now := p.now()
	for i := 0; i < len(p.workers); i++ {
		w := p.workers[i]
		if w.ahead == nil {
			continue
		}
		var out written
		switch {
		case p.overdueUnread(w, now):
			p.sendAway(w, now, &out)
		case len(w.ahead.flight) > 1 && now-w.ahead.turn >= int64(p.pace.patience):
			p.takeBackAll(w, 1, now, &out)
		}
		if out.n > 0 {
			p.mu.Unlock()
			out.put()
			p.mu.Lock()
		}
	}
	grow := p.queue.len > 0
	p.mu.Unlock()
	if grow {
		p.poke()
	}
	return true
}

// overdueUnread reports whether it is time to look whether PHP has read the oldest request of a worker. p.mu is held.
func (p *Pool) overdueUnread(w *worker, now int64) bool {
	a := w.ahead
	if !a.unread() {
		return false
	}
	wait := int64(p.pace.patience) << (2 * min(a.flight[0].moves, maxMoves))
	if len(p.idle) == 0 {
		wait *= unmoved
	}
	return now-a.turn >= wait
}

// sendAway takes back everything that PHP has not read. When that is all it was given, PHP is busy with something after its last
// answer, or slow to wake: the worker gets nothing more until it is back, which a greeting in its pipe finds out. p.mu is held.
func (p *Pool) sendAway(w *worker, now int64, out *written) {
	a := w.ahead
	first := a.flight[0]
	written := a.writers.Load() == 0 // then what is not in the pipe was read
	var back [maxAhead]*job
	n := 0
	for len(a.flight) > 0 {
		j := p.takeBack(w)
		if j == nil {
			break
		}
		j.moves++
		back[n] = j
		n++
	}
	switch {
	case len(a.flight) == 0:
		a.away = true
		p.away++
		if err := a.pipe.write(fenceFrame); err != nil {
			w.proc.kill() // its goroutine notices
		}
		if w.retire {
			interrupt(w.relay)
		}
	case a.flight[0] != first:
		a.turn = now // it is only just being written
		w.resume()
	case written:
		a.taken = a.turn
	}
	p.giveAll(back[:n], now, out)
	p.checkSettled()
}

// isBack notes that a worker that was away asks for work. p.mu is held.
func (p *Pool) isBack(w *worker) {
	if w.ahead != nil && w.ahead.away {
		w.ahead.away = false
		p.away--
	}
}

// returned gives work to a worker that was away.
func (w *worker) returned() (fate, error) {
	if err := w.skipFrame(); err != nil {
		return dead, err
	}
	p := w.pool
	var out written
	p.mu.Lock()
	if !w.ahead.away {
		p.mu.Unlock()
		return dead, fmt.Errorf("%w: a command that nobody asked for", ErrBadAnswer)
	}
	p.isBack(w)
	next := w.advance(&out)
	p.mu.Unlock()
	out.put()
	return next, nil
}

// steal takes back a request for a worker that has nothing to do, from one that has worked on another for a while. p.mu is held.
func (p *Pool) steal(now int64) *job {
	const look = 8
	if p.extra == 0 {
		return nil
	}
	n := len(p.workers)
	for range min(n, look) {
		p.next++
		w := p.workers[p.next%uint(n)]
		if a := w.ahead; a != nil && a.worthStealing(now) {
			if j := p.takeBack(w); j != nil {
				return j
			}
		}
	}
	return nil
}

// worthStealing reports whether what lies behind a worker's request may go to another. Pool.mu is held.
func (a *ahead) worthStealing(now int64) bool {
	return len(a.flight) > 1 && now-a.turn > 4*a.service+stealAfter
}

// runAhead is run for a worker that gets requests ahead.
func (w *worker) runAhead() {
	var cause error
	next := w.settle(nil)
	if next == keep {
		next, cause = w.readAnswers()
	}
	if next == stop {
		w.shutdown()
	} else {
		next = w.wreck(cause)
		w.kill()
	}
	w.pool.leave(w, next == dead)
}

// readAnswers reads answers until the worker is retired or dies. The error is why it does, when its relay failed.
func (w *worker) readAnswers() (fate, error) {
	for {
		h, err := w.head()
		if errors.Is(err, errRetired) {
			return stop, nil
		}
		if err != nil {
			return dead, err
		}
		next, err := w.takeAnswer(h)
		if err != nil || next != keep {
			return next, err
		}
	}
}

// takeAnswer takes the answer whose first header is h.
func (w *worker) takeAnswer(h frame.Header) (fate, error) {
	if h.Is(frame.FlagControl) && h.NumOpts == 0 {
		return w.returned()
	}
	if err := w.wholeSent(); err != nil {
		return dead, err
	}
	if h.Is(frame.FlagError) {
		if err := w.readError(); err != nil {
			return dead, err
		}
		return w.landed(h.Number, ErrApplication, nil)
	}
	if h.Is(frame.FlagControl) || h.NumOpts != 1 || h.Option(0) > h.Len || h.Option(0) > maxHead {
		return dead, fmt.Errorf("%w: a frame with flags %#x, %d options, context of %d in %d bytes", ErrBadAnswer, h.Flags, h.NumOpts, h.Option(0), h.Len)
	}
	if h.Has(frame.StreamMore) || h.Len > maxWhole {
		return w.streamAnswer(h)
	}
	payload, err := w.take(int(h.Len))
	if err != nil {
		return dead, err
	}
	if len(payload) == len(stopRequest) && string(payload) == stopRequest && int(h.Option(0)) == len(payload) {
		return w.refused(h.Number)
	}
	return w.landed(h.Number, nil, payload[:h.Option(0):len(payload)])
}

// wholeSent waits for the writer of a large frame, which holds on to its job: PHP has read the frame, so the writer is done or just
// about to notice. A worker that answers what it did not read is given up.
func (w *worker) wholeSent() error {
	a := w.ahead
	if a.writers.Load() == 0 {
		return nil
	}
	w.pool.mu.Lock()
	large := a.large
	w.pool.mu.Unlock()
	if !large {
		return nil // packets are written at once, and others than the one answered are on their way
	}
	for try := 0; a.writers.Load() > 0; try++ {
		switch {
		case try < 100:
			runtime.Gosched()
		case try < 100+int(exitGrace/writerPoll):
			time.Sleep(writerPoll)
		default:
			return fmt.Errorf("%w: it answered a request that it has not read", ErrBadAnswer)
		}
	}
	return nil
}

// landed ends the job of that number, with an error or with the answer whose context is given and whose body stands behind it, and
// gives the worker what it does next.
func (w *worker) landed(number byte, failure error, head []byte) (fate, error) {
	p := w.pool
	p.mu.Lock()
	j := p.land(w, number)
	if j == nil {
		p.mu.Unlock()
		return dead, fmt.Errorf("%w: an answer to request %d, which it does not have", ErrBadAnswer, number)
	}
	var out written
	next := w.advance(&out)
	p.mu.Unlock()
	out.put()
	if failure == nil {
		j.head, j.body = head[:len(head):len(head)], head[len(head):cap(head)]
		j.answer = w.exchange()
	}
	j.pid = w.proc.pid
	j.finish(failure)
	w.count()
	return next, nil
}

// settle is advance for a worker that did not just end a job. back is jobs of the worker that go elsewhere.
func (w *worker) settle(back []*job) fate {
	var out written
	w.pool.mu.Lock()
	w.pool.giveAll(back, w.pool.now(), &out)
	next := w.advance(&out)
	w.pool.mu.Unlock()
	out.put()
	return next
}

// advance finds out what the worker does next, after a job ended: the next of its flight, one of the queue or of another worker,
// or nothing. p.mu is held.
func (w *worker) advance(out *written) fate {
	p, a := w.pool, w.ahead
	now := p.now()
	if w.busy.Load() == overdue {
		return dead // the supervisor kills it for a request that was just answered
	}
	if a.turn > 0 {
		a.service += (now - a.turn - a.service) / 8
	}
	a.turn = now
	if a.active() {
		w.busy.Store(now)
		if !a.streaming {
			p.stats.waited(now - a.flight[0].queuedAt)
		}
	} else {
		a.large = false
	}
	for out.n < maxAhead && !w.retire && !a.closed && (!a.active() || w.room(now)) {
		j := p.queue.pop()
		if j == nil && !a.active() {
			j = p.steal(now)
		}
		if j == nil {
			break
		}
		if a.active() && !j.packet(w.speaks) {
			p.queue.pushFront(j)
			break
		}
		if !a.active() {
			p.stats.waited(now - j.queuedAt)
		}
		p.assign(w, j, now)
		out.add(w, j)
	}
	switch {
	case a.active():
		return keep
	case w.retire || a.closed:
		return stop
	}
	w.busy.Store(0)
	a.turn = 0
	p.endAt(w, StateIdle, now)
	p.idle = append(p.idle, w)
	return keep
}

// refused hands on a request that the worker answered with its wish to end, and all that lies behind it.
func (w *worker) refused(number byte) (fate, error) {
	p := w.pool
	var out written
	p.mu.Lock()
	j := p.land(w, number)
	w.ahead.closed = true
	p.retire(w)
	p.takeBackAll(w, 0, p.now(), &out)
	next := w.advance(&out)
	p.mu.Unlock()
	out.put()
	if j == nil {
		return dead, fmt.Errorf("%w: an answer to request %d, which it does not have", ErrBadAnswer, number)
	}
	p.requeue(j)
	return next, nil
}

// streamAnswer passes on an answer in parts. What lies behind it goes elsewhere.
func (w *worker) streamAnswer(h frame.Header) (fate, error) {
	p, a := w.pool, w.ahead
	var out written
	p.mu.Lock()
	j := p.land(w, h.Number)
	a.large = true // nothing more goes ahead
	p.mu.Unlock()
	for try := 0; a.writers.Load() > 0 && try < 1000; try++ { // what is on its way into the pipe
		if try < 100 {
			runtime.Gosched()
		} else {
			time.Sleep(50 * time.Microsecond)
		}
	}
	p.mu.Lock()
	a.large = false
	p.takeBackAll(w, 0, p.now(), &out)
	a.streaming = true
	p.mu.Unlock()
	out.put()
	if j == nil {
		return dead, fmt.Errorf("%w: a stream for request %d, which it does not have", ErrBadAnswer, h.Number)
	}
	j.pid = w.proc.pid
	if w.passOn(j, h) == dead {
		return dead, nil
	}
	p.mu.Lock()
	a.streaming, a.turn = false, 0
	p.mu.Unlock()
	next := w.settle(nil)
	w.count()
	return next, nil
}

// untaken hands on a request that PHP read while it streamed an answer, and gave back.
func (w *worker) untaken(number byte) error {
	p := w.pool
	var out written
	p.mu.Lock()
	if !w.ahead.streaming {
		p.mu.Unlock()
		return fmt.Errorf("%w: request %d came back although nothing is streamed", ErrBadAnswer, number)
	}
	if j := p.land(w, number); j != nil {
		if to := p.give(j, p.now()); to != nil {
			out.add(to, j)
		}
	}
	p.mu.Unlock()
	out.put()
	p.poke()
	return nil
}

// wreck ends the process of a worker that cannot go on and sees to its jobs: what PHP never read goes to other workers, what it had
// fails. cause is why, or nil when that was told already.
func (w *worker) wreck(cause error) fate {
	p, a := w.pool, w.ahead
	p.mu.Lock()
	a.closed, w.retire = true, true
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.mu.Unlock()

	err := ErrCrashed
	if cause != nil {
		if errors.Is(cause, ErrBadAnswer) {
			p.logFor(w).Error("php worker broke the protocol", "error", cause)
			err = cause
		} else {
			err = w.explain(cause)
		}
	}
	w.proc.kill()
	<-w.proc.exited
	for a.writers.Load() > 0 {
		time.Sleep(time.Millisecond) // a handler that writes notices the end by itself, within drainGrace
	}

	var out written
	p.mu.Lock()
	whole := a.large && len(a.flight) == 1 && int64(w.relay.unread()) == a.sent.Load()
	p.takeBackAll(w, 0, p.now(), &out)
	lost := slices.Clone(a.flight)
	if n := len(lost); n > 1 {
		p.extra -= n - 1
	}
	a.flight = a.flight[:0]
	p.mu.Unlock()
	out.put()
	p.poke()

	if cause != nil && errors.Is(err, ErrCrashed) {
		w.logEnd(cause, len(lost) > 0 && !whole)
	}
	for _, j := range lost {
		if whole {
			p.requeue(j)
		} else {
			j.finish(err)
		}
	}
	if len(lost) == 0 || whole {
		return w.lastFate()
	}
	return dead
}

var errRetired = errors.New("retired")

// retired reports whether a worker that waits for an answer has none to wait for, and is to end. What PHP does after its last
// answer has stop_timeout, as for workers that were never asked whether they are back.
func (w *worker) retired() bool {
	if w.ahead == nil {
		return false
	}
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return w.retire && (!w.ahead.active() || w.ahead.away)
}
