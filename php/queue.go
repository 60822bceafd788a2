package php

// queue is a list of waiting jobs, first in first out.
type queue struct {
	first, last *job
	len         int
}

func (q *queue) pushBack(j *job) {
	j.waiting, j.prev, j.next = true, q.last, nil
	if q.last == nil {
		q.first = j
	} else {
		q.last.next = j
	}
	q.last = j
	q.len++
}

func (q *queue) pushFront(j *job) {
	j.waiting, j.prev, j.next = true, nil, q.first
	if q.first == nil {
		q.last = j
	} else {
		q.first.prev = j
	}
	q.first = j
	q.len++
}

func (q *queue) remove(j *job) {
	if j.prev == nil {
		q.first = j.next
	} else {
		j.prev.next = j.next
	}
	if j.next == nil {
		q.last = j.prev
	} else {
		j.next.prev = j.prev
	}
	j.waiting, j.prev, j.next = false, nil, nil
	q.len--
}
