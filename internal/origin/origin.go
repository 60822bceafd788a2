// Package origin tells the parts of the server around a route who has made an answer: whatever the route is for (PHP, a plugin, another
// server), or the server itself, in its place. Error pages stand for the latter only.
package origin

import "net/http"

// Watcher is a ResponseWriter that wants to know. final is true when the answer must stay as it is, whoever made it.
type Watcher interface{ Answered(final bool) }

// Mark says that what follows on w is the answer of whatever the route is for. It matters for statuses from 400 on only, and is called before
// the head is written.
func Mark(w http.ResponseWriter) { mark(w, false) }

// Settle says that nobody may put another answer in the place of the one that follows.
func Settle(w http.ResponseWriter) { mark(w, true) }

func mark(w http.ResponseWriter, final bool) {
	for {
		if watcher, ok := w.(Watcher); ok {
			watcher.Answered(final)
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = inner.Unwrap()
	}
}
