package php

import "sync"

// A request goes on when its client leaves, as under RoadRunner: what it changes is changed whole. A worker that would rather know,
// because it computes long for nobody, announces featureCancel. It is then told by a STOP frame, which it finds when it looks.
// Such a worker gets no requests ahead, among which the frame would have to be found.
const featureCancel = "cancel"

// hangup is what a worker is told by.
type hangup struct {
	mu  sync.Mutex // held while the frame is written: nothing else may be
	job *job       // the request all of which was written and none of whose answer was read
}

// listen notes which request the worker can be told about, nil for none.
func (w *worker) listen(j *job) {
	if w.hangup == nil {
		return
	}
	w.hangup.mu.Lock()
	w.hangup.job = j
	w.hangup.mu.Unlock()
	if j == nil {
		return
	}
	w.pool.mu.Lock()
	gone := j.gone // before it came here
	w.pool.mu.Unlock()
	if gone {
		w.tell(j)
	}
}

// tell tells the worker that the client of a request is gone, if that is what it works on.
func (w *worker) tell(j *job) {
	w.hangup.mu.Lock()
	defer w.hangup.mu.Unlock()
	if w.hangup.job == j {
		w.hangup.job = nil
		_, _ = w.relay.Write(streamStopFrame) // a worker that died is noticed by who reads its answer
	}
}

// hangUp tells whichever worker has the job, and wants to know, that its client is gone.
func (p *Pool) hangUp(j *job) {
	var told []*worker
	p.mu.Lock()
	for _, w := range p.workers {
		if w.hangup != nil {
			told = append(told, w)
		}
	}
	p.mu.Unlock()
	for _, w := range told {
		w.tell(j)
	}
}
