package php

// queue holds the jobs that wait for a worker, in flows: those of one route, or of one host. Flows take turns; within a flow
// the first that came is the first to go. So whoever sends most waits longest, and nobody else does.
//
//	urgent ─► a job that came back from a worker which never took it: before all others
//	turn   ─► flow "shop"  ─► job ─► job ─► job     the flows are a ring
//	          flow "admin" ─► job
//	oldest ─► every job by age, across the flows, for queue.timeout
//
// Nothing here depends on how many jobs or flows there are, and nothing allocates once the queue has been as full before.
// Pool.mu protects all of it.
type queue struct {
	len int

	urgent      jobList
	flows       map[string]*flow // those with jobs
	turn        *flow            // the next to be served
	first, last *job             // by age: see job.older
	byLen       []*flow          // lists of the flows that have so many jobs
	longest     int              // the largest len of a flow
	free        *flow            // records to use again
}

// flow is the waiting jobs of one route or host.
type flow struct {
	key        string
	jobs       jobList
	len        int
	next, prev *flow // in the ring
	up, down   *flow // among the flows of the same len; up leads on in the list of free ones
}

// jobList is a list of jobs by job.next and job.prev.
type jobList struct{ first, last *job }

// pushBack adds a job that has just come.
func (q *queue) pushBack(j *job) {
	f := q.flows[j.flow]
	if f == nil {
		f = q.addFlow(j.flow)
	}
	j.in = f
	f.jobs.pushBack(j)
	q.resize(f, f.len+1)
	q.age(j)
}

// pushFront adds a job that came back and goes before all others.
func (q *queue) pushFront(j *job) {
	j.in = nil
	q.urgent.pushFront(j)
	older := q.last
	if q.first != nil && q.first.queuedAt > j.queuedAt {
		older = nil
	} else if q.last != nil && q.last.queuedAt > j.queuedAt {
		// What comes back is older than nearly all that waits: there is not far to go.
		for older = q.first; older.newer.queuedAt <= j.queuedAt; older = older.newer {
		}
	}
	q.ageAfter(older, j)
}

// pop takes out the job whose turn it is; nil when none waits.
func (q *queue) pop() *job {
	j := q.urgent.first
	if j == nil {
		if q.turn == nil {
			return nil
		}
		j = q.turn.jobs.first
		q.turn = q.turn.next // before remove, which moves the turn only when this was the flow's last job
	}
	q.remove(j)
	return j
}

// oldest is the job that has waited longest; nil when none waits.
func (q *queue) oldest() *job { return q.first }

// remove takes out a job that waits.
func (q *queue) remove(j *job) {
	if f := j.in; f == nil {
		q.urgent.remove(j)
	} else {
		f.jobs.remove(j)
		q.resize(f, f.len-1)
		if f.len == 0 {
			q.dropFlow(f)
		}
	}
	q.unage(j)
}

// giveWay returns the job that leaves a full queue to one of the flow that key names: the newest of the longest flow. It is nil
// when that would only make the two change places.
func (q *queue) giveWay(key string) *job {
	n := 0
	if f := q.flows[key]; f != nil {
		n = f.len
	}
	if n+1 >= q.longest {
		return nil
	}
	return q.byLen[q.longest].jobs.last
}

// addFlow makes the flow last in the ring.
func (q *queue) addFlow(key string) *flow {
	f := q.free
	if f == nil {
		f = &flow{}
	} else {
		q.free, f.up = f.up, nil
	}
	f.key = key
	if q.flows == nil {
		q.flows = map[string]*flow{}
	}
	q.flows[key] = f
	if q.turn == nil {
		q.turn, f.next, f.prev = f, f, f
		return f
	}
	f.next, f.prev = q.turn, q.turn.prev
	f.prev.next, f.next.prev = f, f
	return f
}

// dropFlow takes out a flow without jobs and keeps its record for another.
func (q *queue) dropFlow(f *flow) {
	delete(q.flows, f.key)
	if f.next == f {
		q.turn = nil
	} else {
		f.prev.next, f.next.prev = f.next, f.prev
		if q.turn == f {
			q.turn = f.next
		}
	}
	f.key, f.next, f.prev = "", nil, nil
	q.free, f.up = f, q.free
}

// resize moves a flow to the others of its new length, which is one off the old one.
func (q *queue) resize(f *flow, n int) {
	if f.len > 0 {
		if f.down == nil {
			q.byLen[f.len] = f.up
		} else {
			f.down.up = f.up
		}
		if f.up != nil {
			f.up.down = f.down
		}
		f.up, f.down = nil, nil
	}
	f.len = n
	if n > 0 {
		for len(q.byLen) <= n {
			q.byLen = append(q.byLen, nil)
		}
		if f.up = q.byLen[n]; f.up != nil {
			f.up.down = f
		}
		q.byLen[n] = f
	}
	switch {
	case n > q.longest:
		q.longest = n
	case q.byLen[q.longest] == nil:
		q.longest-- // to n: the flow was the only one of that length
	}
}

// age notes a job as the newest.
func (q *queue) age(j *job) { q.ageAfter(q.last, j) }

// ageAfter notes a job as the next one younger than older, or as the oldest when that is nil.
func (q *queue) ageAfter(older, j *job) {
	j.waiting = true
	j.older = older
	if older == nil {
		j.newer, q.first = q.first, j
	} else {
		j.newer, older.newer = older.newer, j
	}
	if j.newer == nil {
		q.last = j
	} else {
		j.newer.older = j
	}
	q.len++
}

func (q *queue) unage(j *job) {
	if j.older == nil {
		q.first = j.newer
	} else {
		j.older.newer = j.newer
	}
	if j.newer == nil {
		q.last = j.older
	} else {
		j.newer.older = j.older
	}
	j.waiting, j.in, j.older, j.newer = false, nil, nil, nil
	q.len--
}

func (l *jobList) pushBack(j *job) {
	j.prev, j.next = l.last, nil
	if l.last == nil {
		l.first = j
	} else {
		l.last.next = j
	}
	l.last = j
}

func (l *jobList) pushFront(j *job) {
	j.prev, j.next = nil, l.first
	if l.first == nil {
		l.last = j
	} else {
		l.first.prev = j
	}
	l.first = j
}

func (l *jobList) remove(j *job) {
	if j.prev == nil {
		l.first = j.next
	} else {
		j.prev.next = j.next
	}
	if j.next == nil {
		l.last = j.prev
	} else {
		j.next.prev = j.prev
	}
	j.prev, j.next = nil, nil
}
