package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// The stores of the kv section, for `edge kv`. Keys stand in the query, percent-encoded, so they may have any bytes; values are
// bodies as they are. In JSON a key is "key", or "key_base64" when it is not UTF-8.
//
//	GET    /kv                                       the stores                          []KVStore
//	GET    /kv/{store}/keys?prefix=&cursor=&limit=   keys; cursor is empty at the end    KVPage
//	GET    /kv/{store}/value?key=                    the value; its deadline in the header Edge-Expires; 404 without one
//	PUT    /kv/{store}/value?key=&ttl=|expires=&add= stores the body; add=true: 409 when the key is there
//	DELETE /kv/{store}/value?key=&key=               {"deleted": 1}
//	GET    /kv/{store}/ttl?key=                      {"expires": "2026-…" or absent}; 404 without the key
//	POST   /kv/{store}/ttl?key=&ttl=|expires=        moves the deadline; neither: for ever; 404 without the key
//	POST   /kv/{store}/clear                         removes every key
//	GET    /kv/{store}/export?prefix=                lines of JSON: see KVLine
//	POST   /kv/{store}/import                        takes such lines                    KVImport
//	POST   /kv/{store}/compact                       makes the file smaller              KVCompaction
//
// A ttl is a duration such as 90s, expires a time in RFC 3339. Deadlines are written in RFC 3339 with milliseconds.

// Stores is what the API needs of the stores. Errors may be a *KVError; others are the server's fault.
type Stores interface {
	List() []KVStore
	Get(ctx context.Context, store, key string) (KVItem, error)
	TTL(ctx context.Context, store, key string) (KVItem, error)
	Set(ctx context.Context, store string, items []KVItem) error
	Add(ctx context.Context, store string, item KVItem) (stored bool, err error)
	Expire(ctx context.Context, store, key string, expires time.Time) (found bool, err error)
	Delete(ctx context.Context, store string, keys []string) (deleted int, err error)
	Clear(ctx context.Context, store string) error
	Scan(ctx context.Context, store, prefix, cursor string, limit int) (keys []string, next string, err error)
	Compact(ctx context.Context, store string) (KVCompaction, error)
}

// KVError is an error with the HTTP status that it has.
type KVError struct {
	Status int
	Err    error

	// Stored is how many items a Set that failed has stored. With Unsure set it may be more.
	Stored int
	Unsure bool
}

func (e *KVError) Error() string { return e.Err.Error() }

func (e *KVError) Unwrap() error { return e.Err }

// KVItem is a key of a store.
type KVItem struct {
	Key     string
	Value   []byte
	Expires time.Time // zero: never
	Found   bool
	Tags    []string // Get fills them in, and Set takes them off where the driver has none

	// Members make the key a sorted set, which has no value. Set leaves those of a driver out that has none, and takes Found off.
	Members []KVMember
}

// KVMember is a member of a sorted set.
type KVMember struct {
	Member string  `json:"member,omitempty"`
	Base64 []byte  `json:"member_base64,omitempty"` // instead of Member when that is not UTF-8
	Score  float64 `json:"score"`
}

// NewKVMember writes a member in the way that loses nothing.
func NewKVMember(member string, score float64) KVMember {
	k := NewKVKey(member)
	return KVMember{Member: k.Text, Base64: k.Base64, Score: max(-math.MaxFloat64, min(math.MaxFloat64, score))} // JSON has no more
}

func (m KVMember) String() string { return KVKey{m.Member, m.Base64}.String() }

// KVStore is a store of the kv section.
type KVStore struct {
	Name     string `json:"name"`
	Driver   string `json:"driver"`
	Counts   bool   `json:"counts"` // whether the driver knows the next two
	Keys     int64  `json:"keys"`
	Bytes    int64  `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"`
	Hits     uint64 `json:"hits"`
	Misses   uint64 `json:"misses"`
	Sets     uint64 `json:"sets"`
	Refused  uint64 `json:"refused"`
	Expired  uint64 `json:"expired"`
	Evicted  uint64 `json:"evicted"`
}

// KVKey is a key in JSON.
type KVKey struct {
	Text   string `json:"key,omitempty"`
	Base64 []byte `json:"key_base64,omitempty"`
}

// NewKVKey writes a key in the way that loses nothing.
func NewKVKey(key string) KVKey {
	if utf8.ValidString(key) {
		return KVKey{Text: key}
	}
	return KVKey{Base64: []byte(key)}
}

func (k KVKey) String() string {
	if k.Text != "" {
		return k.Text
	}
	return string(k.Base64)
}

// KVPage is a page of keys.
type KVPage struct {
	Keys   []KVKey `json:"keys"`
	Cursor []byte  `json:"cursor,omitempty"` // base64 in JSON
}

// KVCompaction is what a compaction did.
type KVCompaction struct {
	File   string `json:"file"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

// deadlineFormat is RFC 3339 with milliseconds, which is what stores keep.
const deadlineFormat = "2006-01-02T15:04:05.000Z07:00"

const expiresHeader = "Edge-Expires"

// maxKVValue bounds the body of a PUT; limits.max_value of the store may be lower.
const maxKVValue = 1 << 30

type kvAPI struct{ stores Stores }

func kvRoutes(mux *http.ServeMux, stores Stores) {
	if stores == nil {
		return
	}
	api := kvAPI{stores}
	mux.HandleFunc("GET /kv", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, stores.List()) })
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, string) error{
		"GET /kv/{store}/keys": api.keys, "GET /kv/{store}/value": api.get, "PUT /kv/{store}/value": api.set,
		"DELETE /kv/{store}/value": api.delete, "GET /kv/{store}/ttl": api.ttl, "POST /kv/{store}/ttl": api.expire,
		"POST /kv/{store}/clear": api.clear, "POST /kv/{store}/compact": api.compact,
		"GET /kv/{store}/export": api.export, "POST /kv/{store}/import": api.load,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := handle(w, r, r.PathValue("store")); err != nil {
				answerError(w, kvStatus(err), err)
			}
		})
	}
}

func kvStatus(err error) int {
	var known *KVError
	if errors.As(err, &known) {
		return known.Status
	}
	return http.StatusInternalServerError
}

func wrong(format string, args ...any) error {
	return &KVError{Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

func missing(key string) error {
	return &KVError{Status: http.StatusNotFound, Err: fmt.Errorf("there is no key %q", key)}
}

// key is the one key of a request.
func key(r *http.Request) (string, error) {
	if k := r.URL.Query().Get("key"); k != "" {
		return k, nil
	}
	return "", wrong("say which key: ?key=NAME")
}

// expires is the deadline of a request, the zero time without one.
func expires(r *http.Request) (time.Time, error) {
	query := r.URL.Query()
	if ttl := query.Get("ttl"); ttl != "" {
		d, err := time.ParseDuration(ttl)
		if err != nil {
			return time.Time{}, wrong("ttl: %q is no duration such as 90s or 24h", ttl)
		}
		return time.Now().Add(d), nil
	}
	if at := query.Get("expires"); at != "" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return time.Time{}, wrong("expires: %q is no time such as 2030-01-31T12:00:00Z", at)
		}
		return t, nil
	}
	return time.Time{}, nil
}

func formatDeadline(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(deadlineFormat)
}

func (a kvAPI) keys(w http.ResponseWriter, r *http.Request, store string) error {
	query := r.URL.Query()
	limit := 1000
	if text := query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 10_000 {
			return wrong("limit: must be between 1 and 10000, got %q", text)
		}
	}
	keys, next, err := a.stores.Scan(r.Context(), store, query.Get("prefix"), query.Get("cursor"), limit)
	if err != nil {
		return err
	}
	page := KVPage{Keys: make([]KVKey, len(keys)), Cursor: []byte(next)}
	for i, k := range keys {
		page.Keys[i] = NewKVKey(k)
	}
	answer(w, http.StatusOK, page)
	return nil
}

func (a kvAPI) get(w http.ResponseWriter, r *http.Request, store string) error {
	k, err := key(r)
	if err != nil {
		return err
	}
	item, err := a.stores.Get(r.Context(), store, k)
	switch {
	case err != nil:
		return err
	case !item.Found:
		return missing(k)
	case len(item.Members) > 0:
		return &KVError{Status: http.StatusUnprocessableEntity, Err: fmt.Errorf("key %q is a sorted set of %d members, which has no value: `edge kv export %s --prefix %s` writes it", k, len(item.Members), store, k)}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if end := formatDeadline(item.Expires); end != "" {
		w.Header().Set(expiresHeader, end)
	}
	w.Write(item.Value) // fails only when the operator has gone
	return nil
}

func (a kvAPI) set(w http.ResponseWriter, r *http.Request, store string) error {
	k, err := key(r)
	if err != nil {
		return err
	}
	end, err := expires(r)
	if err != nil {
		return err
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKVValue))
	if err != nil {
		return wrong("read the value: %w", err)
	}
	item := KVItem{Key: k, Value: value, Expires: end}
	if r.URL.Query().Get("add") != "true" {
		err = a.stores.Set(r.Context(), store, []KVItem{item})
	} else if stored, addErr := a.stores.Add(r.Context(), store, item); addErr != nil || !stored {
		err = addErr
		if err == nil {
			err = &KVError{Status: http.StatusConflict, Err: fmt.Errorf("key %q is there already", k)}
		}
	}
	if err == nil {
		answer(w, http.StatusOK, struct{}{})
	}
	return err
}

func (a kvAPI) delete(w http.ResponseWriter, r *http.Request, store string) error {
	keys := r.URL.Query()["key"]
	if len(keys) == 0 {
		return wrong("say which keys: ?key=NAME&key=NAME")
	}
	n, err := a.stores.Delete(r.Context(), store, keys)
	if err == nil {
		answer(w, http.StatusOK, map[string]int{"deleted": n})
	}
	return err
}

func (a kvAPI) ttl(w http.ResponseWriter, r *http.Request, store string) error {
	k, err := key(r)
	if err != nil {
		return err
	}
	item, err := a.stores.TTL(r.Context(), store, k)
	switch {
	case err != nil:
		return err
	case !item.Found:
		return missing(k)
	}
	var body struct {
		Expires string `json:"expires,omitempty"`
	}
	body.Expires = formatDeadline(item.Expires)
	answer(w, http.StatusOK, body)
	return nil
}

func (a kvAPI) expire(w http.ResponseWriter, r *http.Request, store string) error {
	k, err := key(r)
	if err != nil {
		return err
	}
	end, err := expires(r)
	if err != nil {
		return err
	}
	found, err := a.stores.Expire(r.Context(), store, k, end)
	switch {
	case err != nil:
		return err
	case !found:
		return missing(k)
	}
	answer(w, http.StatusOK, struct{}{})
	return nil
}

func (a kvAPI) clear(w http.ResponseWriter, r *http.Request, store string) error {
	err := a.stores.Clear(r.Context(), store)
	if err == nil {
		answer(w, http.StatusOK, struct{}{})
	}
	return err
}

func (a kvAPI) compact(w http.ResponseWriter, r *http.Request, store string) error {
	result, err := a.stores.Compact(r.Context(), store)
	if err == nil {
		answer(w, http.StatusOK, result)
	}
	return err
}

// problem is the text of an error body.
func problem(body []byte, otherwise string) error {
	var p struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &p) != nil || p.Error == "" {
		return errors.New(otherwise)
	}
	return errors.New(p.Error)
}
