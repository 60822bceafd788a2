package kv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Texts that PHP clients search for in errors, and RoadRunner's words around them.
var (
	errNoStorage  = errors.New("no storage provided")
	errNoKeys     = errors.New("should provide at least 1 key")
	errEmptyKey   = errors.New("key can't be empty string")
	errNoDeadline = errors.New("timeout for MExpire is empty")

	errAnswerSize = fmt.Errorf("the values are more than %d MiB together: ask for fewer keys at once", maxAnswer>>20)
)

// maxAnswer bounds the values of one answer. A request can name a key thousands of times, and the answer repeats its value.
const maxAnswer = 128 << 20

// An operation is one method of the service: run reads and fills items and writes the answer.
type operation struct {
	prefix string // of errors
	run    func(ctx context.Context, store Store, items []Item, resp *Response) error

	keyless   bool // takes no items
	deadlines bool // reads timeouts
	mustEnd   bool // and refuses an empty one
}

// The prefixes are RoadRunner's, its slip of the pen in rcp_delete included.
var operations = map[string]*operation{
	"Has":     {prefix: "rpc_has", run: has},
	"Set":     {prefix: "rpc_set", run: set, deadlines: true},
	"MGet":    {prefix: "rpc_mget", run: mget},
	"MExpire": {prefix: "rpc_mexpire", run: mexpire, deadlines: true, mustEnd: true},
	"TTL":     {prefix: "rpc_ttl", run: ttl},
	"Delete":  {prefix: "rcp_delete", run: del},
	"Clear":   {prefix: "rcp_delete", run: clearAll, keyless: true},
}

// methodFetch is MGet for sdk/php.
const methodFetch = "Fetch"

// Service answers the kv.* methods over named stores. It has the shape of rpc.Handler.
type Service struct {
	stores map[string]*Front
	calls  map[string]*call
	bulks  map[string]bulk

	// Requests and responses are used again: see Release.
	requests  sync.Pool
	responses sync.Pool
	ops       sync.Pool
	results   sync.Pool
	fetches   sync.Pool
}

// NewService returns the RPC face of stores, which it neither changes nor closes. One that has no Front gets one with the default
// limits.
func NewService(stores map[string]Store) *Service {
	s := &Service{stores: make(map[string]*Front, len(stores)), calls: newCalls(), bulks: newBulks()}
	for name, store := range stores {
		front, ok := As[*Front](store)
		if !ok {
			front = Wrap(name, store, DefaultLimits())
		}
		s.stores[name] = front
	}
	return s
}

// NewRequest returns an empty argument for method to be decoded into; it reports false when there is no such method.
func (s *Service) NewRequest(method string) (any, bool) {
	if method == methodFetch {
		if f, ok := s.fetches.Get().(*Fetch); ok {
			return f, true
		}
		return new(Fetch), true
	}
	if operations[method] == nil {
		if s.calls[method] == nil {
			return nil, false
		}
		if op, ok := s.ops.Get().(*Op); ok {
			return op, true
		}
		return new(Op), true
	}
	if r, ok := s.requests.Get().(*Request); ok {
		return r, true
	}
	return new(Request), true
}

// Call runs method with a request that NewRequest returned.
func (s *Service) Call(ctx context.Context, method string, request any) (any, error) {
	if op, ok := request.(*Op); ok {
		return s.call(ctx, method, op)
	}
	if f, ok := request.(*Fetch); ok {
		if err := s.fetch(ctx, f); err != nil {
			return nil, fmt.Errorf("%s: %w", operations["MGet"].prefix, err)
		}
		return f, nil
	}
	op, req := operations[method], request.(*Request)
	resp, ok := s.responses.Get().(*Response)
	if !ok {
		resp = new(Response)
	}
	if err := s.do(ctx, op, req, resp); err != nil {
		return resp, fmt.Errorf("%s: %w", op.prefix, err)
	}
	return resp, nil
}

// call runs a method beyond the seven.
func (s *Service) call(ctx context.Context, method string, op *Op) (any, error) {
	r, ok := s.results.Get().(*Result)
	if !ok {
		r = new(Result)
	}
	if err := s.callOn(ctx, method, op, r); err != nil {
		*r = Result{}
		return r, fmt.Errorf("kv.%s: %w", method, err)
	}
	return r, nil
}

func (s *Service) callOn(ctx context.Context, method string, op *Op, r *Result) error {
	if op.Storage == "" {
		return errNoStorage
	}
	front, ok := s.stores[op.Storage]
	if !ok {
		return s.unknown(op.Storage)
	}
	c := s.calls[method]
	if err := c.check(method, front, op); err != nil {
		return err
	}
	if c.run == nil {
		return s.batch(ctx, front, op.Ops, r)
	}
	return front.named(method, c.run(ctx, front, op, r))
}

// Release takes back what NewRequest and Call returned, once the answer was written.
func (s *Service) Release(request, response any) {
	if op, ok := request.(*Op); ok {
		*op = Op{storage: s.pooledName(op.Storage)}
		s.ops.Put(op)
	}
	if f, ok := request.(*Fetch); ok && cap(f.items) <= maxPooledItems {
		f.reset(s.pooledName(f.storage))
		s.fetches.Put(f)
	}
	if r, ok := response.(*Result); ok {
		*r = Result{}
		s.results.Put(r)
	}
	if r, ok := request.(*Request); ok && cap(r.Items) <= maxPooledItems && cap(r.items) <= maxPooledItems {
		clear(r.items)
		*r = Request{Items: recycle(r.Items), items: r.items[:0], storage: s.pooledName(r.Storage)}
		s.requests.Put(r)
	}
	if r, ok := response.(*Response); ok && cap(r.Items) <= maxPooledItems {
		r.Items = recycle(r.Items)
		s.responses.Put(r)
	}
}

// pooledName is a name that a pool may keep: a made-up one may be as long as a frame.
func (s *Service) pooledName(storage string) string {
	if s.stores[storage] == nil {
		return ""
	}
	return storage
}

// maxPooledItems keeps the memory of a giant batch from staying in a pool.
const maxPooledItems = 1024

// recycle empties a list without keeping what its elements point at.
func recycle(m Messages) Messages {
	clear(m)
	return m[:0]
}

// Stats returns a snapshot of every store by name.
func (s *Service) Stats() map[string]Stats {
	stats := make(map[string]Stats, len(s.stores))
	for name, store := range s.stores {
		stats[name] = store.Stats()
	}
	return stats
}

func (s *Service) do(ctx context.Context, op *operation, req *Request, resp *Response) error {
	store, err := s.store(op, req.Storage)
	if err != nil {
		return err
	}
	if err := op.check(req); err != nil {
		return err
	}
	return op.run(ctx, store, req.items, resp)
}

func (s *Service) store(op *operation, name string) (Store, error) {
	// Set reports an empty name as one that is unknown.
	if name == "" && op.prefix != "rpc_set" {
		return nil, errNoStorage
	}
	store, ok := s.stores[name]
	if !ok {
		return nil, s.unknown(name)
	}
	return store, nil
}

func (s *Service) unknown(name string) error {
	return fmt.Errorf("no such storage: %s%s", name, s.known())
}

// known ends a complaint with what there is.
func (s *Service) known() string {
	if len(s.stores) == 0 {
		return " (the kv section has none)"
	}
	return " (there are: " + strings.Join(slices.Sorted(maps.Keys(s.stores)), ", ") + ")"
}

// check turns the items of the request into the batch for the store. It looks at all of them before anything is done.
func (op *operation) check(req *Request) error {
	if op.keyless {
		return nil
	}
	if len(req.Items) == 0 {
		return errNoKeys
	}
	batch := slices.Grow(req.items[:0], len(req.Items))
	for i := range req.Items {
		m := &req.Items[i]
		if strings.TrimSpace(m.Key) == "" {
			return errEmptyKey
		}
		item := Item{Key: m.Key, Value: m.Value}
		if op.deadlines && m.Timeout != "" {
			deadline, err := time.Parse(time.RFC3339, m.Timeout)
			if err != nil {
				return fmt.Errorf("timeout of key %q is not an RFC 3339 time: %q", m.Key, m.Timeout)
			}
			if item.Expires = deadline; deadline.IsZero() {
				item.Expires = time.UnixMilli(1) // the first moment of the year 1 has come as well, and is not "never"
			}
		} else if op.mustEnd {
			return errNoDeadline
		}
		batch = append(batch, item)
	}
	req.items = batch
	return nil
}

func has(ctx context.Context, store Store, items []Item, resp *Response) error {
	if err := store.Has(ctx, items); err != nil {
		return err
	}
	for i := range items {
		if items[i].Found {
			resp.Items = append(resp.Items, Message{Key: items[i].Key})
		}
	}
	return nil
}

func set(ctx context.Context, store Store, items []Item, _ *Response) error {
	return store.Set(ctx, items)
}

func mget(ctx context.Context, store Store, items []Item, resp *Response) error {
	if err := store.Get(ctx, items); err != nil {
		return err
	}
	size := 0
	for i := range items {
		if !items[i].Found {
			continue
		}
		if size += len(items[i].Value); size > maxAnswer && len(items) > 1 {
			return errAnswerSize
		}
		resp.Items = append(resp.Items, Message{Key: items[i].Key, Value: items[i].Value})
	}
	return nil
}

func mexpire(ctx context.Context, store Store, items []Item, _ *Response) error {
	return store.Expire(ctx, items)
}

// ttl answers an empty timeout for a key that lives for ever, and nothing for one that does not exist.
func ttl(ctx context.Context, store Store, items []Item, resp *Response) error {
	if err := store.TTL(ctx, items); err != nil {
		if errors.Is(err, ErrUnsupported) {
			// PHP takes "_plugin_ttl" anywhere in the text for "this driver has no TTL"; no other error may contain it.
			return fmt.Errorf("driver_plugin_ttl: %w", err)
		}
		return err
	}
	for i := range items {
		if items[i].Found {
			resp.Items = append(resp.Items, Message{Key: items[i].Key, Timeout: formatDeadline(items[i].Expires)})
		}
	}
	return nil
}

func del(ctx context.Context, store Store, items []Item, _ *Response) error {
	return store.Delete(ctx, items)
}

func clearAll(ctx context.Context, store Store, _ []Item, _ *Response) error {
	return store.Clear(ctx)
}

// formatDeadline writes a deadline as PHP's DATE_RFC3339 reads it: whole seconds, rounded up, in UTC, and of a year with four digits.
func formatDeadline(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if whole := t.Truncate(time.Second); whole.Before(t) {
		t = whole.Add(time.Second)
	}
	if last := time.UnixMilli(farthest); t.After(last) {
		t = last
	}
	return t.UTC().Format("2006-01-02T15:04:05-07:00")
}
