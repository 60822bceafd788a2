package mercure

import (
	"context"
	"errors"
	"fmt"
)

// The history is a file that one process can have, so the hub moves in an upgrade:
//
//	            older process                      newer process
//	it starts   log, history                       what is published waits; the broker is heard
//	it moves    Hold: what is published waits      TakeOver: opens the history
//	it serves   Leave: what is published is sent   log, history
//	            to the newer process
//
// Streams of the older process get nothing from then on. They are sent away with the id at which they stand, and go on from there.

// turn says what becomes of updates.
type turn struct {
	run     *logRun       // the log; nil before the first begin
	held    chan struct{} // not nil: they wait until it is closed
	forward func(ctx context.Context, update []byte) error
}

// enter returns what becomes of updates, when that is known. What it returns holds until leaveTurn.
func (s *Server) enter(ctx context.Context) (turn, error) {
	for {
		s.turnMu.RLock()
		t := s.turn
		if t.held == nil {
			return t, nil
		}
		s.turnMu.RUnlock()
		select {
		case <-t.held:
		case <-ctx.Done():
			return t, fmt.Errorf("the hub moves to another process: %w", context.Cause(ctx))
		}
	}
}

func (s *Server) leaveTurn() { s.turnMu.RUnlock() }

func (s *Server) currentTurn() turn {
	s.turnMu.RLock()
	defer s.turnMu.RUnlock()
	return s.turn
}

// hold makes updates wait.
func (s *Server) hold() {
	s.turnMu.Lock()
	defer s.turnMu.Unlock()
	s.turn.held = make(chan struct{})
}

// release lets them go on, to the log when forward is nil.
func (s *Server) release(forward func(context.Context, []byte) error) {
	s.turnMu.Lock()
	defer s.turnMu.Unlock()
	if s.turn.held != nil {
		close(s.turn.held)
	}
	s.turn.held, s.turn.forward = nil, forward
}

func (s *Server) isHeld() bool { return s.currentTurn().held != nil }

// begin opens the history and starts the log, after hold.
func (s *Server) begin() error {
	if s.history != nil {
		if err := s.history.open(); err != nil {
			return err
		}
		id, err := s.history.lastID()
		if err != nil {
			return errors.Join(err, s.history.close())
		}
		gap, err := s.history.gap()
		if err != nil {
			return errors.Join(err, s.history.close())
		}
		s.gap.restore(gap)
		s.registry.mu.Lock()
		s.registry.latest, s.registry.lastID = s.history.last, id
		s.registry.mu.Unlock()
		s.countHistory()
	}
	s.commitHeard()
	s.markGap()
	run := newLogRun()
	s.turnMu.Lock()
	s.turn.run = run
	s.turnMu.Unlock()
	go s.runLog(run)
	s.release(nil)
	return nil
}

// commitHeard writes what the broker has said meanwhile, without what the older process has written already.
func (s *Server) commitHeard() {
	for {
		batch := s.collect(nil)
		if len(batch) == 0 {
			return
		}
		fresh := batch[:0]
		for _, p := range batch {
			if s.history != nil {
				if _, known, err := s.history.place(p.update.id); err == nil && known {
					p.tell(nil)
					continue
				}
			}
			fresh = append(fresh, p)
		}
		if len(fresh) > 0 {
			s.commit(fresh)
		}
	}
}

// Hold stops the log when it has written what has come, and closes the history. What is published then, and streams that read the history,
// wait for Resume or Leave.
func (s *Server) Hold() error {
	s.moveMu.Lock()
	defer s.moveMu.Unlock()
	if !s.started || s.isHeld() {
		return nil
	}
	s.hold()
	return s.end()
}

// end stops the log and closes the history.
func (s *Server) end() error {
	s.quitFleet()
	s.currentTurn().run.end()
	if s.history == nil {
		return nil
	}
	return s.history.close()
}

// TakeOver makes this process the one that has the hub, when the older one has let go of it.
func (s *Server) TakeOver() error {
	s.moveMu.Lock()
	defer s.moveMu.Unlock()
	if !s.started || !s.isHeld() {
		return nil
	}
	if err := s.begin(); err != nil {
		return fmt.Errorf("ws.mercure: %w", err)
	}
	return nil
}

// Resume undoes Hold.
func (s *Server) Resume(ctx context.Context) error {
	s.moveMu.Lock()
	defer s.moveMu.Unlock()
	if !s.started || !s.isHeld() {
		return nil
	}
	err := s.join(ctx)
	if err == nil {
		s.wasAway()
		err = s.begin()
	}
	if err != nil { // better an error for each that publishes than no answer
		err = fmt.Errorf("ws.mercure: the hub cannot go on: %w", err)
		s.letGo(func(context.Context, []byte) error { return err })
	}
	return err
}

// Leave ends Hold: another process has the hub. forward sends it what is published here, for Accept.
func (s *Server) Leave(forward func(ctx context.Context, update []byte) error) {
	s.moveMu.Lock()
	defer s.moveMu.Unlock()
	if s.started && s.isHeld() {
		s.letGo(forward)
	}
}

func (s *Server) letGo(forward func(ctx context.Context, update []byte) error) {
	if s.history != nil {
		s.history.leave()
	}
	s.release(forward)
}

// Accept publishes what another process has forwarded.
func (s *Server) Accept(ctx context.Context, encoded []byte) error {
	u, err := decode(0, encoded)
	if err != nil {
		return err
	}
	return s.publish(ctx, u)
}

// stop ends what Start began, in whatever state it is.
func (s *Server) stop() error {
	if !s.started {
		return nil
	}
	s.started = false
	defer s.quitFleet()
	t := s.currentTurn()
	if t.forward != nil {
		return nil
	}
	var err error
	if t.held == nil {
		s.hold()
		err = s.end()
	}
	s.letGo(func(context.Context, []byte) error { return errParting })
	return err
}

// quitFleet ends join.
func (s *Server) quitFleet() {
	if s.leaveFleet != nil {
		s.leaveFleet()
		s.leaveFleet = nil
	}
}
