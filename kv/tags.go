package kv

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// reserved begins the keys that the store itself keeps: generations of tags, leases, locks. Clients may not name such keys.
const reserved = "\x00edge:"

const (
	tagKeys   = reserved + "tag:"
	leaseKeys = reserved + "lease:"
	lockKeys  = reserved + "lock:"
	fenceKey  = reserved + "fence"
)

// envelope begins values that are not what a client sees: a number of tags, each with the generation it had, and then the value.
// A client's value that looks like one is put into an envelope without tags.
const envelope = "\x00edge\x01"

var (
	errPeek  = errors.New("the key holds an envelope")
	errMoved = errors.New("the key holds another envelope")
)

// Tagged is a store whose values can have tags. A tag has a generation: a random text under a key of its own, which a tagged value
// carries with it. Removing that key makes all values under the tag void at once, however many there are: a later generation is
// another text. Void values are as if they were not there; they leave the store when they expire or are written again.
type Tagged struct {
	Store

	// seen says that the store may hold envelopes. Until it does nothing here costs more than a look at the first bytes.
	seen atomic.Bool
}

// WithTags puts tags over a driver.
func WithTags(s Store) *Tagged {
	t := &Tagged{Store: s}
	t.seen.Store(s.Can()&(CanShared|CanPersist) != 0)
	return t
}

// Unwrap is for As.
func (s *Tagged) Unwrap() Store { return s.Store }

// sealed is an envelope that was opened.
type sealed struct {
	tags, generations []string
	value             []byte
}

func isEnvelope(value []byte) bool {
	return len(value) >= len(envelope) && string(value[:len(envelope)]) == envelope
}

// unseal opens an envelope. What only begins like one is the value itself.
func unseal(value []byte) (e sealed, ok bool) {
	rest := value[len(envelope):]
	count, n := binary.Uvarint(rest)
	if n <= 0 || count > uint64(len(rest)) {
		return sealed{}, false
	}
	rest = rest[n:]
	next := func() (string, bool) {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return "", false
		}
		text := string(rest[n : n+int(size)])
		rest = rest[n+int(size):]
		return text, true
	}
	for range count {
		tag, ok1 := next()
		generation, ok2 := next()
		if !ok1 || !ok2 {
			return sealed{}, false
		}
		e.tags, e.generations = append(e.tags, tag), append(e.generations, generation)
	}
	e.value = rest[:len(rest):len(rest)]
	return e, true
}

func (e sealed) seal() []byte {
	b := binary.AppendUvarint([]byte(envelope), uint64(len(e.tags)))
	for i := range e.tags {
		b = binary.AppendUvarint(b, uint64(len(e.tags[i])))
		b = append(b, e.tags[i]...)
		b = binary.AppendUvarint(b, uint64(len(e.generations[i])))
		b = append(b, e.generations[i]...)
	}
	return append(b, e.value...)
}

// Get implements Store.
func (s *Tagged) Get(ctx context.Context, items []Item) error {
	if err := s.Store.Get(ctx, items); err != nil {
		return err
	}
	for i := range items {
		if items[i].Found && isEnvelope(items[i].Value) {
			return s.open(ctx, items)
		}
	}
	return nil
}

// open puts the values in the place of their envelopes, and takes out those that are void. It asks for all generations at once.
func (s *Tagged) open(ctx context.Context, items []Item) error {
	opened := make(map[int]sealed)
	current := map[string]string{}
	for i := range items {
		if !items[i].Found || !isEnvelope(items[i].Value) {
			continue
		}
		if e, ok := unseal(items[i].Value); ok {
			opened[i] = e
			for _, tag := range e.tags {
				current[tag] = ""
			}
		}
	}
	if err := s.generations(ctx, current); err != nil {
		return err
	}
	for i, e := range opened {
		items[i].Value = e.value
		if !e.valid(current) {
			items[i].Value, items[i].Found = nil, false
		}
	}
	return nil
}

func (e sealed) valid(current map[string]string) bool {
	for i, tag := range e.tags {
		if current[tag] != e.generations[i] {
			return false
		}
	}
	return true
}

// generations fills in those of the tags that are the keys of current.
func (s *Tagged) generations(ctx context.Context, current map[string]string) error {
	if len(current) == 0 {
		return nil
	}
	items := make([]Item, 0, len(current))
	for tag := range current {
		items = append(items, Item{Key: tagKeys + tag})
	}
	if err := s.Store.Get(ctx, items); err != nil {
		return err
	}
	for _, it := range items {
		if it.Found {
			current[strings.TrimPrefix(it.Key, tagKeys)] = string(it.Value)
		}
	}
	return nil
}

// Has implements Store. Whether a key is void can only be seen in its value.
func (s *Tagged) Has(ctx context.Context, items []Item) error {
	if err := s.Store.Has(ctx, items); err != nil {
		return err
	}
	return s.takeVoid(ctx, items)
}

// TTL implements Store.
func (s *Tagged) TTL(ctx context.Context, items []Item) error {
	if err := s.Store.TTL(ctx, items); err != nil {
		return err
	}
	return s.takeVoid(ctx, items)
}

// Expire implements Store. A void value gets the new deadline, too, but is not said to be there.
func (s *Tagged) Expire(ctx context.Context, items []Item) error {
	if !s.seen.Load() {
		return s.Store.Expire(ctx, items)
	}
	void := make([]Item, len(items))
	for i := range items {
		void[i] = Item{Key: items[i].Key, Found: true}
	}
	if err := s.takeVoid(ctx, void); err != nil {
		return err
	}
	err := s.Store.Expire(ctx, items)
	for i := range items {
		items[i].Found = items[i].Found && void[i].Found
	}
	return err
}

// takeVoid takes back Found where the value is void.
func (s *Tagged) takeVoid(ctx context.Context, items []Item) error {
	if !s.seen.Load() {
		return nil
	}
	var look []Item
	var places []int
	for i := range items {
		if items[i].Found {
			look, places = append(look, Item{Key: items[i].Key}), append(places, i)
		}
	}
	if len(look) == 0 {
		return nil
	}
	if err := s.Store.Get(ctx, look); err != nil {
		return err
	}
	before := make([]bool, len(look)) // a sorted set is not found by Get, and there
	for i := range look {
		before[i] = look[i].Found
	}
	if err := s.open(ctx, look); err != nil {
		return err
	}
	for i, at := range places {
		items[at].Found = !before[i] || look[i].Found
	}
	return nil
}

// escape returns items as they are stored: the same slice when no value looks like an envelope.
func (s *Tagged) escape(items []Item) []Item {
	escaped := items
	for i := range items {
		if !isEnvelope(items[i].Value) {
			continue
		}
		s.seen.Store(true)
		if &escaped[0] == &items[0] {
			escaped = slices.Clone(items)
		}
		escaped[i].Value = sealed{value: items[i].Value}.seal()
	}
	return escaped
}

// Set implements Store.
func (s *Tagged) Set(ctx context.Context, items []Item) error {
	return s.Store.Set(ctx, s.escape(items))
}

// Add implements Store. A void value is no value.
func (s *Tagged) Add(ctx context.Context, items []Item) error {
	stored := s.escape(items)
	err := s.Store.Add(ctx, stored)
	there := make([]Item, 0, 4)
	for i := range items {
		if items[i].Found = stored[i].Found; items[i].Found {
			there = append(there, Item{Key: items[i].Key, Found: true})
		}
	}
	if err != nil || !s.seen.Load() || len(there) == 0 {
		return err
	}
	if err := s.takeVoid(ctx, there); err != nil {
		return err
	}
	at := 0
	for i := range items {
		if !items[i].Found {
			continue
		}
		if void := !there[at].Found; void {
			err := AddByUpdate(ctx, s, items[i:i+1])
			if of, ok := errors.AsType[ItemError](err); ok {
				err = of.Err // without its place: those behind it are done, too
			}
			if err != nil {
				return err
			}
		}
		at++
	}
	return nil
}

// Increment implements Store.
func (s *Tagged) Increment(ctx context.Context, key string, delta int64, expires time.Time) (int64, error) {
	n, err := s.Store.Increment(ctx, key, delta, expires)
	if errors.Is(err, ErrNumber) && s.seen.Load() && s.Can().Has(CanUpdate) {
		return IncrementByUpdate(ctx, s, key, delta, expires) // it may be a number in an envelope
	}
	return n, err
}

// Update implements Store. A value with tags keeps them.
func (s *Tagged) Update(ctx context.Context, key string, change func(Item) (Item, error)) error {
	var peeked []byte // the envelope whose generations are known
	var current map[string]string
	for range 64 {
		err := s.Store.Update(ctx, key, func(old Item) (Item, error) {
			var e sealed
			if old.Found && isEnvelope(old.Value) {
				if peeked == nil {
					return old, errPeek
				}
				if !bytes.Equal(peeked, old.Value) {
					return old, errMoved
				}
				if opened, ok := unseal(old.Value); ok {
					e = opened
					if old.Value = e.value; !e.valid(current) {
						old, e = Item{Key: key}, sealed{}
					}
				}
			}
			changed, err := change(old)
			if err != nil || !changed.Found {
				return changed, err
			}
			if len(e.tags) > 0 || isEnvelope(changed.Value) {
				s.seen.Store(true)
				e.value = changed.Value
				changed.Value = e.seal()
			}
			return changed, nil
		})
		if !errors.Is(err, errPeek) && !errors.Is(err, errMoved) {
			return err
		}
		if peeked, current, err = s.peek(ctx, key); err != nil {
			return err
		}
	}
	return ErrBusy
}

// peek returns the envelope under key and the generations of its tags.
func (s *Tagged) peek(ctx context.Context, key string) ([]byte, map[string]string, error) {
	items := []Item{{Key: key}}
	if err := s.Store.Get(ctx, items); err != nil {
		return nil, nil, err
	}
	current := map[string]string{}
	if items[0].Found && isEnvelope(items[0].Value) {
		if e, ok := unseal(items[0].Value); ok {
			for _, tag := range e.tags {
				current[tag] = ""
			}
		}
	}
	return bytes.Clone(items[0].Value), current, s.generations(ctx, current)
}

// Scan implements Store, without the store's own keys. Void values may be among the keys.
func (s *Tagged) Scan(ctx context.Context, prefix, cursor string, limit int) ([]string, string, error) {
	keys, next, err := s.Store.Scan(ctx, prefix, cursor, limit)
	return slices.DeleteFunc(keys, func(key string) bool { return strings.HasPrefix(key, reserved) }), next, err
}

// SetTagged stores item under tags. It asks for CanAdd.
func (s *Tagged) SetTagged(ctx context.Context, item Item, tags []string) error {
	generations, err := s.generationsFor(ctx, tags, item.Expires)
	if err != nil {
		return err
	}
	return s.setSealed(ctx, item, tags, generations)
}

// GetTagged is Get of one item that tells its tags, too.
func (s *Tagged) GetTagged(ctx context.Context, item *Item) ([]string, error) {
	items := []Item{{Key: item.Key}}
	if err := s.Store.Get(ctx, items); err != nil {
		return nil, err
	}
	*item = items[0]
	if !item.Found || !isEnvelope(item.Value) {
		return nil, nil
	}
	e, ok := unseal(item.Value)
	if !ok {
		return nil, nil
	}
	current := make(map[string]string, len(e.tags))
	for _, tag := range e.tags {
		current[tag] = ""
	}
	if err := s.generations(ctx, current); err != nil {
		return nil, err
	}
	if !e.valid(current) {
		item.Value, item.Found = nil, false
		return nil, nil
	}
	item.Value = e.value
	return e.tags, nil
}

func (s *Tagged) setSealed(ctx context.Context, item Item, tags, generations []string) error {
	if len(tags) > 0 {
		s.seen.Store(true)
		item.Value = sealed{tags: tags, generations: generations, value: item.Value}.seal()
		return s.Store.Set(ctx, []Item{item})
	}
	return s.Set(ctx, []Item{item})
}

// generationsFor returns the generations of tags, made where there are none, which last at least until expires. A tag that is
// invalidated later has a generation that no key holds: what is written under it is void from the start, as if the invalidation had
// come a moment after.
func (s *Tagged) generationsFor(ctx context.Context, tags []string, expires time.Time) (generations []string, err error) {
	if len(tags) == 0 || !expires.IsZero() && !expires.After(time.Now()) {
		return make([]string, len(tags)), nil
	}
	for range 16 {
		lasting := false
		if generations, lasting, err = s.tryGenerations(ctx, tags, expires); err != nil || lasting {
			return generations, err
		}
	}
	return generations, nil // invalidated again and again: so is what will be written
}

// tryGenerations reports false when a generation that was there has ended amid this, by its deadline or an invalidation. The one that
// it returns then is held by no key.
func (s *Tagged) tryGenerations(ctx context.Context, tags []string, expires time.Time) (generations []string, lasting bool, err error) {
	generations = make([]string, len(tags))
	items := make([]Item, len(tags))
	for i, tag := range tags {
		items[i] = Item{Key: tagKeys + tag, Value: []byte(rand.Text()), Expires: expires}
	}
	if err := s.Store.Add(ctx, items); err != nil {
		return nil, false, err
	}
	var old []Item
	for i := range items {
		if generations[i] = string(items[i].Value); items[i].Found {
			old = append(old, Item{Key: items[i].Key})
		}
	}
	if len(old) == 0 {
		return generations, true, nil
	}
	if err := s.Store.Get(ctx, old); err != nil {
		return nil, false, err
	}
	at, all := 0, true
	for i := range items {
		if !items[i].Found {
			continue
		}
		if old[at].Found {
			generations[i] = string(old[at].Value)
		}
		all = all && old[at].Found
		at++
	}
	if !all {
		return generations, false, nil
	}
	lasting, err = s.extend(ctx, old, expires)
	return generations, lasting, err
}

// extend makes the generations under keys last until expires, and reports whether all are there.
func (s *Tagged) extend(ctx context.Context, keys []Item, expires time.Time) (lasting bool, err error) {
	longer := make([]Item, 0, len(keys))
	if !s.Can().Has(CanTTL) {
		for i := range keys { // for ever: it may be needed for longer by another value
			longer = append(longer, Item{Key: keys[i].Key})
		}
	} else {
		ends := slices.Clone(keys)
		if err := s.Store.TTL(ctx, ends); err != nil {
			return false, err
		}
		for _, it := range ends {
			if !it.Found {
				return false, nil
			}
			if !it.Expires.IsZero() && (expires.IsZero() || it.Expires.Before(expires)) {
				longer = append(longer, Item{Key: it.Key, Expires: expires})
			}
		}
	}
	if len(longer) == 0 {
		return true, nil
	}
	err = s.Store.Expire(ctx, longer)
	return !slices.ContainsFunc(longer, func(it Item) bool { return !it.Found }), err
}

// AddTagged stores item under tags if its key is not there, and reports whether it did.
func (s *Tagged) AddTagged(ctx context.Context, item Item, tags []string) (added bool, err error) {
	generations, err := s.generationsFor(ctx, tags, item.Expires)
	if err != nil {
		return false, err
	}
	s.seen.Store(true)
	item.Value = sealed{tags: tags, generations: generations, value: item.Value}.seal()
	items := []Item{item}
	for range 16 {
		if err := s.Store.Add(ctx, items); err != nil || !items[0].Found {
			return err == nil, err
		}
		there := []Item{{Key: item.Key, Found: true}}
		if err := s.takeVoid(ctx, there); err != nil || there[0].Found {
			return false, err
		}
		if err := s.removeVoid(ctx, item.Key); err != nil {
			return false, err
		}
	}
	return false, ErrBusy
}

// removeVoid removes key if it is void, and nothing else.
func (s *Tagged) removeVoid(ctx context.Context, key string) error {
	err := s.Update(ctx, key, func(old Item) (Item, error) {
		if old.Found {
			return old, errThere
		}
		return Item{Key: key}, nil
	})
	if errors.Is(err, errThere) {
		return nil
	}
	return err
}

// InvalidateTags makes all values under tags void. It costs one delete for each tag.
func (s *Tagged) InvalidateTags(ctx context.Context, tags []string) error {
	items := make([]Item, len(tags))
	for i, tag := range tags {
		items[i].Key = tagKeys + tag
	}
	return s.Store.Delete(ctx, items)
}
