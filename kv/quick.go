package kv

// Instant is a Store whose operations on keys never wait: they look into memory.
type Instant interface{ Instant() }

// Peeker is a store that shows the value of one key without the batch around it, which costs more than looking it up does.
type Peeker interface {
	// Peek is Get of one key. When it reports false it has not looked, and only Get can tell. It does not keep the key, whose bytes may
	// change once it has returned.
	Peek(key string) (value []byte, found, ok bool)
}

// quickItems bounds the batch of a quick call.
const quickItems = 256

// quickOps are the methods on one key, beside RoadRunner's, that do not wait for other callers.
var quickOps = map[string]bool{
	"Get": true, "Put": true, "Add": true, "CompareAndSwap": true, "Increment": true, "Touch": true, "Expiry": true, "Remove": true,
}

// Quick reports whether a call ends at once, so that it needs no goroutine of its own; see rpc.Quick.
func (s *Service) Quick(method string, request any) bool {
	var store *Front
	switch r := request.(type) {
	case *Request:
		if method == "Clear" || len(r.Items) > quickItems {
			return false
		}
		store = s.stores[r.Storage]
	case *Fetch:
		if len(r.items) > quickItems {
			return false
		}
		store = s.stores[r.storage]
	case *Op:
		if !quickOps[method] {
			return false
		}
		store = s.stores[r.Storage]
	}
	if store == nil {
		return false
	}
	_, ok := As[Instant](store)
	return ok
}
