package ws

import "sync"

// item is a message that waits to be written.
type item struct {
	m         *Prepared
	droppable bool
}

// queue is what waits for one client. Usually that is one message, which takes no memory beside the connection's.
type queue struct {
	head item // the oldest; nil when the queue is empty
	rest *backlog
}

// backlog is what waits behind the head.
type backlog struct {
	items []item
	first int // the items before have been taken
	bytes int
	room  [backlogRoom]item // what items begins with
}

const backlogRoom = 29

var backlogs = sync.Pool{New: func() any { return new(backlog) }} // of *backlog

func (q *queue) len() int {
	switch {
	case q.head.m == nil:
		return 0
	case q.rest == nil:
		return 1
	}
	return 1 + len(q.rest.items) - q.rest.first
}

func (q *queue) bytes() int {
	switch {
	case q.head.m == nil:
		return 0
	case q.rest == nil:
		return len(q.head.m.plain)
	}
	return len(q.head.m.plain) + q.rest.bytes
}

func (q *queue) push(it item) {
	if q.head.m == nil {
		q.head = it
		return
	}
	b := q.rest
	if b == nil {
		b = backlogs.Get().(*backlog)
		b.items = b.room[:0]
		q.rest = b
	}
	if b.first > 0 && len(b.items) == cap(b.items) {
		n := copy(b.items, b.items[b.first:])
		clear(b.items[n:])
		b.items, b.first = b.items[:n], 0
	}
	b.items = append(b.items, it)
	b.bytes += len(it.m.plain)
}

// shift takes the head.
func (q *queue) shift() item {
	it, b := q.head, q.rest
	if b == nil {
		q.head = item{}
		return it
	}
	q.head = b.items[b.first]
	b.items[b.first] = item{}
	b.bytes -= len(q.head.m.plain)
	if b.first++; b.first == len(b.items) {
		q.release()
	}
	return it
}

// pop takes up to len(to) items, and no more bytes than asked for, but at least one item if there is any.
func (q *queue) pop(to []item, bytes int) (n int) {
	for n < len(to) && q.head.m != nil {
		size := len(q.head.m.plain)
		if n > 0 && size > bytes {
			break
		}
		bytes -= size
		to[n] = q.shift()
		n++
	}
	return n
}

// dropOldest removes the oldest item that may be dropped.
func (q *queue) dropOldest() bool {
	if q.head.m == nil || q.head.droppable {
		return q.shift().m != nil
	}
	b := q.rest
	if b == nil {
		return false
	}
	for i := b.first; i < len(b.items); i++ {
		if !b.items[i].droppable {
			continue
		}
		b.bytes -= len(b.items[i].m.plain)
		copy(b.items[b.first+1:i+1], b.items[b.first:i]) // usually nothing
		b.items[b.first] = item{}
		if b.first++; b.first == len(b.items) {
			q.release()
		}
		return true
	}
	return false
}

func (q *queue) clear() {
	q.head = item{}
	if q.rest != nil {
		clear(q.rest.items)
		q.release()
	}
}

// release gives the memory of an empty backlog back.
func (q *queue) release() {
	b := q.rest
	if cap(b.items) > backlogRoom { // it had grown; what was copied is still there
		clear(b.room[:])
	}
	b.items, b.first, b.bytes = nil, 0, 0
	backlogs.Put(b)
	q.rest = nil
}

// enqueue puts a message into the queue and sees to it that somebody writes it.
func (c *Conn) enqueue(m *Prepared, droppable bool) error {
	wake, err := c.put(m, droppable)
	if wake {
		c.endpoint.hub.writers.add(c)
	}
	return err
}

// Reply is Send for what OnMessage sends last: where nothing else waits, the caller writes it instead of waking somebody who does. It does not
// wait for the client either. Others than OnMessage use Send, which lets messages in a row leave together.
func (c *Conn) Reply(m *Prepared) error {
	wake, err := c.put(m, false)
	if wake {
		c.endpoint.hub.writers.now(c)
	}
	return err
}

// put is enqueue for who adds the connection to the writers himself, when wake says that it must be.
func (c *Conn) put(m *Prepared, droppable bool) (wake bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || c.broken {
		return false, ErrClosed
	}
	limits := &c.endpoint.limits
	if size := len(m.plain); c.queue.len() >= limits.QueueMessages || c.queue.bytes()+size > int(limits.Queue) {
		if !c.makeRoom(size, droppable) {
			if c.ending {
				return false, ErrClosed
			}
			return false, nil
		}
	}
	c.queue.push(item{m, droppable})
	wake = !c.writing
	c.writing = true
	return wake, nil
}

// makeRoom applies limits.slow to a full queue and reports whether the message goes in. Answers of the protocol are not dropped:
// they may fill a second queue, and then the client is disconnected.
func (c *Conn) makeRoom(size int, droppable bool) bool {
	limits := &c.endpoint.limits
	full := func(times int) bool {
		q := &c.queue
		return q.len() > 0 && (q.len() >= times*limits.QueueMessages || q.bytes()+size > times*int(limits.Queue))
	}
	if limits.Slow == DropOldest || !droppable {
		for full(1) && c.queue.dropOldest() {
			c.drop()
		}
	}
	switch {
	case !full(1):
		return true
	case !droppable && !full(2):
		return true
	case droppable && limits.Slow != Disconnect:
		c.drop()
		return false
	}
	c.space().counters.slow.Add(1)
	c.queue.clear() // nothing of it would be taken
	c.endLocked(ClosePolicy, "too slow")
	return false
}

func (c *Conn) drop() {
	c.dropped.Add(1)
	c.space().counters.dropped.Add(1)
}
