package rpc

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A line is the socket of a client. Its reader waits for the next call in one of two ways.
//
// Patiently, in the network poller, as everything in Go does: nothing is spent while nothing comes. But every frame wakes a thread twice,
// for what came and for what the client has taken, and a second one that looks for more to do. For a get from memory that is most of the
// work.
//
// Eagerly, for a client that asks one quick question right after the other: in read(2), on a descriptor that the poller does not know. A
// question costs two system calls then. Meanwhile the goroutine keeps its processor, so that only some lines may be eager at a time,
// none of them while other calls of it run, and one whose client pauses is patient again.
type line struct {
	keen *eagerness

	rapid   int       // reads in a row that did not wait for long; the reader's
	patient time.Time // until when the write deadline is good enough; guarded by conn.writing

	// The reader changes what follows, under mu and while no other call runs. So calls need no lock to look at it, and those who end
	// the line do.
	mu    sync.Mutex
	nc    net.Conn
	eager int  // the descriptor of an eager line, else notEager
	ended bool // the reader is to stop
}

const (
	notEager = -1

	// turns is after how many calls an eager line lets other goroutines go first: the scheduler does not see it wait.
	turns = 256
)

// eagerness is what makes lines eager, and how many.
type eagerness struct {
	seats atomic.Int32 // how many more lines may be

	// soon is how quickly the next call comes from a client that makes one after the other, and enough is how many such calls make a
	// line eager: changing costs as much as some ten of them.
	soon   time.Duration
	enough int

	// pause is how long an eager line waits before it is patient again. It is longer than a tick of the kernel: below that, setting
	// the timer costs more than all the rest.
	pause time.Duration
}

// newEagerness lets half of the processors at most be kept by lines, so that the others are there for the rest.
func newEagerness() *eagerness {
	k := &eagerness{soon: 100 * time.Microsecond, enough: 64, pause: 5 * time.Millisecond}
	k.seats.Store(int32(runtime.GOMAXPROCS(0) / 2))
	return k
}

func newLine(nc net.Conn, keen *eagerness) *line { return &line{nc: nc, keen: keen, eager: notEager} }

// Read implements io.Reader for the reader.
func (l *line) Read(p []byte) (int, error) {
	if l.eager != notEager {
		if l.rapid++; l.rapid%turns == 0 {
			runtime.Gosched()
		}
		if n, err, came := readSoon(l.eager, p); came {
			return n, err
		}
		if err := l.calm(); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	n, err := l.nc.Read(p)
	if l.rapid++; time.Since(began) > l.keen.soon {
		l.rapid = 0
	}
	return n, err
}

// rouse makes the line eager if its client was quick for long enough and there is a seat.
func (l *line) rouse() {
	if l.eager != notEager || l.rapid < l.keen.enough {
		return
	}
	l.rapid = 0
	socket, ok := l.nc.(*net.UnixConn)
	if !ok {
		return
	}
	if l.keen.seats.Add(-1) < 0 {
		l.keen.seats.Add(1)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		l.keen.seats.Add(1)
		return
	}
	fd, err := detach(socket, l.keen.pause)
	if err != nil {
		l.keen.seats.Add(1)
		return
	}
	l.eager = fd
	socket.Close() // takes it out of the poller; the connection lives on in fd
}

// calm makes the line patient again.
func (l *line) calm() error {
	if l.eager == notEager {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	nc, err := attach(l.eager)
	l.eager, l.rapid, l.patient = notEager, 0, time.Time{}
	l.keen.seats.Add(1)
	if err != nil {
		return err
	}
	l.nc = nc
	if l.ended {
		return nc.SetReadDeadline(past)
	}
	return nil
}

// past makes a read that waits return.
var past = time.Unix(1, 0)

// send writes a frame whole; conn.writing is held.
func (l *line) send(frame []byte, patience time.Duration) error {
	if l.eager != notEager {
		sent, err := writeNow(l.eager, frame)
		if err != nil || sent == len(frame) {
			return err
		}
		frame = frame[sent:]
		if err := l.calm(); err != nil {
			return err
		}
	}
	// Moving the deadline costs as much as a get: it is moved once it has lost a tenth, so that patience is at least nine.
	if now := time.Now(); now.After(l.patient) {
		_ = l.nc.SetWriteDeadline(now.Add(patience))
		l.patient = now.Add(patience / 10)
	}
	_, err := l.nc.Write(frame)
	return err
}

// readUntil sets the read deadline of a line that cannot be eager yet.
func (l *line) readUntil(t time.Time) { _ = l.nc.SetReadDeadline(t) }

// watch calls gone when the client has hung up, though nobody reads. The reader calls stop before it reads again.
func (l *line) watch(gone func()) (stop func()) {
	var watcher sync.WaitGroup
	watcher.Go(func() { // ends with stop, which sets a deadline
		if sc, ok := l.nc.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				_ = raw.Read(func(fd uintptr) bool {
					left := hasHungUp(fd)
					if left {
						gone()
					}
					return left
				})
			}
		}
	})
	return func() {
		_ = l.nc.SetReadDeadline(past)
		watcher.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.ended {
			_ = l.nc.SetReadDeadline(time.Time{})
		}
	}
}

// finish makes the reader stop.
func (l *line) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.eager != notEager {
		hangUp(l.eager, false)
		return
	}
	_ = l.nc.SetReadDeadline(past)
}

// cut breaks the connection, whoever reads and writes.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.eager != notEager {
		hangUp(l.eager, true)
		return
	}
	l.nc.Close()
}

// close gives the socket back; reader and calls have ended.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.eager != notEager {
		closeDescriptor(l.eager)
		l.eager = notEager
		l.keen.seats.Add(1)
		return
	}
	l.nc.Close()
}
