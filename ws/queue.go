package ws

import "sync"

// item is a message that waits to be written.
type item struct {
	m         *Prepared
	droppable bool
}

// queue is what waits for one client. An empty one holds no memory.
type queue struct {
	items []item
	first int // the items before have been taken
	bytes int
}

const queueChunk = 32

// queueChunks holds *[queueChunk]item, what a queue begins with.
var queueChunks = sync.Pool{New: func() any { return new([queueChunk]item) }}

func (q *queue) len() int { return len(q.items) - q.first }

func (q *queue) push(it item) {
	if q.items == nil {
		q.items = queueChunks.Get().(*[queueChunk]item)[:0]
	}
	if q.first > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	q.items = append(q.items, it)
	q.bytes += len(it.m.plain)
}

// pop takes up to len(to) items, and no more bytes than asked for, but at least one item if there is any.
func (q *queue) pop(to []item, bytes int) (n int) {
	for n < len(to) && q.first < len(q.items) {
		it := q.items[q.first]
		size := len(it.m.plain)
		if n > 0 && size > bytes {
			break
		}
		bytes -= size
		q.bytes -= size
		to[n] = it
		q.items[q.first] = item{}
		q.first++
		n++
	}
	if q.first == len(q.items) {
		q.release()
	}
	return n
}

// dropOldest removes the oldest item that may be dropped.
func (q *queue) dropOldest() bool {
	for i := q.first; i < len(q.items); i++ {
		if !q.items[i].droppable {
			continue
		}
		q.bytes -= len(q.items[i].m.plain)
		copy(q.items[q.first+1:i+1], q.items[q.first:i]) // usually nothing
		q.items[q.first] = item{}
		q.first++
		if q.first == len(q.items) {
			q.release()
		}
		return true
	}
	return false
}

func (q *queue) clear() {
	clear(q.items)
	q.release()
}

// release gives the memory of an empty queue back.
func (q *queue) release() {
	if cap(q.items) == queueChunk {
		queueChunks.Put((*[queueChunk]item)(q.items[:queueChunk]))
	}
	*q = queue{}
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
	if size := len(m.plain); c.queue.len() >= limits.QueueMessages || c.queue.bytes+size > int(limits.Queue) {
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
		return q.len() > 0 && (q.len() >= times*limits.QueueMessages || q.bytes+size > times*int(limits.Queue))
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
