// Package php runs HTTP requests in long-lived PHP workers.
//
// A Pool starts processes that speak goridge frames (package internal/frame), as PHP workers written for RoadRunner do, and
// is an http.Handler over them:
//
//	handler goroutine                    worker goroutine                   PHP
//	request ─► job ─► idle worker or queue ─► one frame ─────────────────► waitPayload()
//	                                                                            │
//	ResponseWriter ◄─ job.done ◄───────── frame, buffer and all ◄────────── respond()
//
// Every worker process has one goroutine that owns its relay: it writes a request, reads the answer, gives the answer with the
// buffer it lies in to the waiting handler, and takes the next job at once. A slow client therefore never holds a worker,
// unless the answer is a stream, which goes through a small bounded channel and holds PHP back at the speed of the client.
//
// Workers of sdk/php on pipes are quicker than a wake-up, so the handler writes their frames itself, the next ones while PHP works,
// and takes them back when that lasts: see ahead.go. They read the context of a request in PHP's own serialization: see native.go.
//
// What surprises people:
//   - A job has one owner at any time. A handler whose client went away takes its job back while it is queued, and otherwise
//     waits for the worker: PHP finishes an answer that is no stream, and the result is dropped. Workers that ask for it are told.
//   - There is no timer per request. One supervisor looks at what workers say about themselves a few times per second, kills
//     those beyond exec_timeout, expires the queue, and starts and retires workers.
//   - Workers written for RoadRunner answer some requests twice, and work on after an answer. What they send then must not reach
//     the next client: see fence.go.
//   - A request is never given to PHP twice, except when PHP did not come back for it, no byte of it was read, or the worker
//     answered {"stop":true}. One that was read back from a worker's pipe is one of which no byte was read.
package php
