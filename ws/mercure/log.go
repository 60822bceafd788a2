package mercure

import (
	"context"
	"errors"
	"time"
)

// publication is an update on its way into the log.
type publication struct {
	update *update
	done   chan error // has room for one; nil: nobody waits
}

const (
	logBatch      = 1024    // updates of one transaction
	logBatchBytes = 4 << 20 // and their size, about
	expireEvery   = time.Minute
)

// errBusy says that more is published than can be written.
var errBusy = errors.New("too many updates wait to be written")

// publish gives an update its place, stores it and hands it out. Once it returns without an error no crash of the server loses it.
func (s *Server) publish(ctx context.Context, u *update) error {
	p := &publication{u, make(chan error, 1)}
	t, err := s.enter(ctx)
	if err != nil {
		return err
	}
	if t.forward != nil {
		s.leaveTurn()
		return t.forward(ctx, u.encode())
	}
	err = s.put(ctx, p)
	s.leaveTurn()
	if err != nil {
		return err
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return ctx.Err() // it may still be published: the caller cannot know
	case <-t.run.done:
	}
	select {
	case err := <-p.done: // with the last of them
		return err
	default:
		return errParting
	}
}

// put gives a publication to the log, here or by way of the broker.
func (s *Server) put(ctx context.Context, p *publication) error {
	if s.space != nil {
		return s.share(ctx, p)
	}
	select {
	case s.incoming <- p:
		return nil
	default:
		return errBusy
	}
}

// logRun is the goroutine of the log.
type logRun struct{ stop, done chan struct{} }

func newLogRun() *logRun { return &logRun{make(chan struct{}), make(chan struct{})} }

func (r *logRun) end() {
	close(r.stop)
	<-r.done
}

// runLog writes what comes, everything that waits in one transaction. A publication is handed out only when it is stored, so that no client
// has an id that the history does not know after a crash.
func (s *Server) runLog(run *logRun) {
	defer close(run.done)
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	var batch []*publication
	for {
		select {
		case p := <-s.incoming:
			batch = s.collect(append(batch[:0], p))
			s.commit(batch)
			clear(batch)
		case <-s.missing:
			s.markGap()
		case <-expire.C:
			s.markGap() // if that has failed
			if s.history != nil {
				s.complain(s.history.expire())
				s.countHistory()
			}
		case <-run.stop:
			for batch = s.collect(batch[:0]); len(batch) > 0; batch = s.collect(batch[:0]) {
				s.commit(batch)
			}
			s.markGap()
			return
		}
	}
}

// collect adds what waits to a batch, which is written next.
func (s *Server) collect(batch []*publication) []*publication {
	size := 0
	for _, p := range batch {
		size += p.update.size()
	}
	for len(batch) < logBatch && size < logBatchBytes {
		select {
		case p := <-s.incoming:
			batch = append(batch, p)
			size += p.update.size()
		default:
			s.logged += uint64(len(batch))
			return batch
		}
	}
	s.logged += uint64(len(batch))
	return batch
}

func (s *Server) commit(batch []*publication) {
	next := s.registry.latest + 1 // only this goroutine changes it
	now := s.now()
	list := make([]*update, len(batch))
	for i, p := range batch {
		p.update.seq, p.update.at = next+uint64(i), now
		p.update.wire = p.update.stream()
		list[i] = p.update
	}
	missed, gap := s.gapIsDue()
	if s.history != nil {
		if err := s.history.append(list, gap); err != nil {
			s.complain(err)
			for _, p := range batch {
				p.tell(err)
			}
			if s.space != nil {
				s.miss() // other nodes have them
			}
			return
		}
	}
	if gap {
		s.gap.settle(missed, list[len(list)-1].seq)
	}
	s.countHistory()
	began := time.Now()
	n := 0
	for _, p := range batch {
		n += s.registry.dispatch(p.update)
		p.tell(nil)
	}
	s.stats.fannedOut(len(batch), n, time.Since(began))
}

func (s *Server) countHistory() {
	if s.history != nil {
		s.stats.kept.Store(int64(s.history.count))
		s.stats.keptLen.Store(s.history.bytes)
	}
}

func (p *publication) tell(err error) {
	if p.done != nil {
		p.done <- err
	}
}

// complain logs that the history cannot be written, once a second at most.
func (s *Server) complain(err error) {
	if err == nil {
		return
	}
	s.stats.historyErrors.Add(1)
	if s.stats.complaints.Now() {
		s.log.Error("mercure: updates cannot be stored", "error", err)
	}
}
