// Package lock is RoadRunner's lock service: named locks that PHP workers take, exclusive or shared, for a time.
//
// [Memory] keeps them in the process, for one server. [Shared] keeps them in a kv store that several servers see. A [Service] puts
// either on the RPC server. What there is beyond RoadRunner:
//
//   - Who waits longest is next, and readers that come later do not pass a writer that waits.
//   - Every grant has a token, larger than that of every grant before. A resource that refuses tokens smaller than one it has
//     seen is safe from a holder that slept through its time: a lock with a time alone cannot give that.
//   - A client that goes away while it waits gets nothing, and what it waited for goes to the next.
package lock

import (
	"context"
	"errors"
	"time"
)

// Locks is what a Service asks. Resource and id are any texts; a lock belongs to whoever knows its id.
type Locks interface {
	// Acquire takes the lock, and waits for it while wait lasts. The token is 0 when it was not to be had. The only reader of a
	// resource becomes its writer in this way; a writer does not get its lock twice, and a reader that asks again has its time moved.
	Acquire(ctx context.Context, r Request) (token int64, err error)

	// Release gives it back; false means that id does not hold it.
	Release(ctx context.Context, resource, id string) (bool, error)

	// ForceRelease takes a resource from all its holders; false means that there were none.
	ForceRelease(ctx context.Context, resource string) (bool, error)

	// Exists says whether id, or anybody when it is *, holds the resource.
	Exists(ctx context.Context, resource, id string) (bool, error)

	// UpdateTTL moves the end of a lock that id holds.
	UpdateTTL(ctx context.Context, resource, id string, ttl time.Duration) (bool, error)
}

// Request asks for a lock.
type Request struct {
	Resource, ID string
	Shared       bool
	TTL, Wait    time.Duration
}

// anybody is the id that stands for every holder.
const anybody = "*"

// ErrTooMany means that there is no room for another lock, or another client that waits.
var ErrTooMany = errors.New("too many locks")

// ErrClosed means that the server stops.
var ErrClosed = errors.New("locks are closed")
