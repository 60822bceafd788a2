package admin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stores is one store called s: a map, and errors on demand.
type stores struct {
	items map[string]KVItem
	fail  map[string]error // by key
	order []string         // of Scan, one key a page
}

var _ Stores = &stores{}

func (s *stores) List() []KVStore {
	return []KVStore{{Name: "s", Driver: "map", Keys: int64(len(s.items))}}
}

func (s *stores) Get(_ context.Context, _, key string) (KVItem, error) {
	return s.items[key], s.fail[key]
}

func (s *stores) TTL(ctx context.Context, store, key string) (KVItem, error) {
	return s.Get(ctx, store, key)
}

func (s *stores) Set(_ context.Context, _ string, items []KVItem) error {
	for _, item := range items {
		if err := s.fail[item.Key]; err != nil {
			return err
		}
		item.Found = true
		s.items[item.Key] = item
	}
	return nil
}

func (s *stores) Add(ctx context.Context, store string, item KVItem) (bool, error) {
	if s.items[item.Key].Found {
		return false, nil
	}
	return true, s.Set(ctx, store, []KVItem{item})
}

func (s *stores) Expire(_ context.Context, _, key string, end time.Time) (bool, error) {
	item := s.items[key]
	item.Expires = end
	if item.Found {
		s.items[key] = item
	}
	return item.Found, s.fail[key]
}

func (s *stores) Delete(_ context.Context, _ string, keys []string) (n int, err error) {
	for _, key := range keys {
		if s.items[key].Found {
			n++
		}
		delete(s.items, key)
	}
	return n, nil
}

func (s *stores) Clear(context.Context, string) error {
	clear(s.items)
	return nil
}

func (s *stores) Scan(_ context.Context, _, _, cursor string, _ int) ([]string, string, error) {
	if err := s.fail[cursor]; err != nil {
		return nil, "", err
	}
	for i, key := range s.order {
		if cursor == "" || i > 0 && s.order[i-1] == cursor {
			next := key
			if i == len(s.order)-1 {
				next = ""
			}
			return []string{key}, next, nil
		}
	}
	return nil, "", nil
}

func (s *stores) Compact(context.Context, string) (KVCompaction, error) {
	return KVCompaction{}, &KVError{Status: http.StatusNotImplemented, Err: errors.New("no file")}
}

func kvClient(t *testing.T, s *stores) KVClient {
	t.Helper()
	if s.items == nil {
		s.items = map[string]KVItem{}
	}
	b := backend()
	b.KV = s
	c, err := NewClient(DefaultConfig(), start(t, DefaultConfig(), b))
	if err != nil {
		t.Fatal(err)
	}
	return c.KV("s")
}

func TestKVStatuses(t *testing.T) {
	t.Parallel()
	full := &KVError{Status: http.StatusInsufficientStorage, Err: errors.New("store is full")}
	c := kvClient(t, &stores{fail: map[string]error{"full": full, "broken": errors.New("disk on fire")}})
	ctx := t.Context()
	for what, tt := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"a full store":        {c.Set(ctx, KVItem{Key: "full"}), 507, "store is full"},
		"the server's fault":  {c.Set(ctx, KVItem{Key: "broken"}), 500, "disk on fire"},
		"no key":              {c.Set(ctx, KVItem{}), 400, "say which key"},
		"what it cannot do":   {second(c.Compact(ctx)), 501, "no file"},
		"a limit of nonsense": {second(c.Keys(ctx, "", "", 0)), 400, "between 1 and 10000"},
		"no keys to delete":   {second(c.Delete(ctx, nil)), 400, "say which keys"},
	} {
		if !hasStatus(tt.err, tt.status) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v, want %d and %q", what, tt.err, tt.status, tt.text)
		}
	}
	if item, err := c.Get(ctx, "never"); err != nil || item.Found {
		t.Errorf("a key that is not there: %+v, %v", item, err)
	}
	if found, err := c.Expire(ctx, "never", time.Now().Add(time.Hour)); err != nil || found {
		t.Errorf("the deadline of a key that is not there: %v, %v", found, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestKVValuesAndDeadlines(t *testing.T) {
	t.Parallel()
	c := kvClient(t, &stores{})
	ctx := t.Context()
	end := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	key := "a/b?c&d=\x00\xff"
	if err := c.Set(ctx, KVItem{Key: key, Value: []byte("\x00\r\n\xff"), Expires: end}); err != nil {
		t.Fatal(err)
	}
	if item, err := c.Get(ctx, key); err != nil || string(item.Value) != "\x00\r\n\xff" || !item.Expires.Equal(end) {
		t.Errorf("get: %+v, %v", item, err)
	}
	if stored, err := c.Add(ctx, KVItem{Key: key}); err != nil || stored {
		t.Errorf("add over a key: %v, %v", stored, err)
	}
	if found, err := c.Expire(ctx, key, time.Time{}); err != nil || !found {
		t.Errorf("persist: %v, %v", found, err)
	}
	if item, err := c.TTL(ctx, key); err != nil || !item.Found || !item.Expires.IsZero() {
		t.Errorf("ttl: %+v, %v", item, err)
	}
	if n, err := c.Delete(ctx, []string{key, "never"}); err != nil || n != 1 {
		t.Errorf("delete: %d, %v", n, err)
	}
}

// TestKVExportsAreWholeOrSaySo: one key that cannot be read is a line; a scan that fails half way is an error.
func TestKVExportsAreWholeOrSaySo(t *testing.T) {
	t.Parallel()
	s := &stores{
		order: []string{"a", "bad", "c\xff"}, fail: map[string]error{"bad": errors.New("it is damaged")},
		items: map[string]KVItem{"a": {Key: "a", Value: []byte("<1>"), Found: true}, "c\xff": {Key: "c\xff", Found: true}},
	}
	c := kvClient(t, s)
	s.fail["bad"] = nil
	s.items["bad"] = KVItem{Key: "bad", Value: []byte("2"), Found: true}
	var whole bytes.Buffer
	if keys, damaged, err := c.Export(t.Context(), "", &whole); err != nil || keys != 3 || damaged != 0 {
		t.Fatalf("export: %d keys, %d damaged, %v", keys, damaged, err)
	}
	want := `{"edge_kv_export":1,"store":"s"}
{"key":"a","value":"PDE+"}
{"key":"bad","value":"Mg=="}
{"key_base64":"Y/8="}
{"end":3}
`
	if whole.String() != want {
		t.Errorf("export wrote\n%s, want\n%s", whole.String(), want)
	}
	other := &stores{}
	if done, err := kvClient(t, other).Import(t.Context(), strings.NewReader(want)); err != nil || done.Stored != 3 {
		t.Errorf("import: %+v, %v", done, err)
	}
	if !other.items["c\xff"].Found || string(other.items["a"].Value) != "<1>" {
		t.Errorf("the import stored %+v", other.items)
	}

	s.fail["bad"] = errors.New("it is damaged") // its value, and the page after it
	var part bytes.Buffer
	_, _, err := c.Export(t.Context(), "", &part)
	if err == nil || !strings.Contains(err.Error(), "broke off") || !strings.Contains(part.String(), `{"key":"bad","error":"it is damaged"}`) {
		t.Errorf("a scan that fails half way: %v; it wrote\n%s", err, part.String())
	}
	if _, err := kvClient(t, &stores{}).Import(t.Context(), &part); err == nil || !strings.Contains(err.Error(), "the export has ended with an error") {
		t.Errorf("import of an export that broke off: %v", err)
	}
}

// TestKVExportsKeepTags through the lines, whatever bytes they are.
func TestKVExportsKeepTags(t *testing.T) {
	t.Parallel()
	s := &stores{order: []string{"a"}, items: map[string]KVItem{"a": {Key: "a", Value: []byte("1"), Found: true, Tags: []string{"red", "\xff"}}}}
	var lines bytes.Buffer
	if _, _, err := kvClient(t, s).Export(t.Context(), "", &lines); err != nil {
		t.Fatal(err)
	}
	if want := `{"key":"a","value":"MQ==","tags":[{"key":"red"},{"key_base64":"/w=="}]}`; !strings.Contains(lines.String(), want) {
		t.Errorf("export wrote %s, want %s", lines.String(), want)
	}
	other := &stores{}
	if done, err := kvClient(t, other).Import(t.Context(), &lines); err != nil || done.Stored != 1 || done.Untagged != 0 {
		t.Errorf("import: %+v, %v", done, err)
	}
	if tags := other.items["a"].Tags; len(tags) != 2 || tags[0] != "red" || tags[1] != "\xff" {
		t.Errorf("the import stored the tags %q", tags)
	}
}

// TestKVImportsCount: the last line says how many keys the export has, and there is nothing after it.
func TestKVImportsCount(t *testing.T) {
	t.Parallel()
	const head, key = "{\"edge_kv_export\":1}\n", "{\"key\":\"a\",\"value\":\"MQ==\"}\n"
	for lines, want := range map[string]string{
		head + key + "{\"end\":2}\n":                                "says 2 keys, and there are 1",
		head + "{\"end\":-1}\n":                                     "says -1 keys, and there are 0",
		head + key + "{\"end\":1}\n" + head + key + "{\"end\":1}\n": "goes on after the last line",
	} {
		s := &stores{}
		if _, err := kvClient(t, s).Import(t.Context(), strings.NewReader(lines)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", lines, err, want)
		}
	}
}

// TestKVExportsHaveSortedSets: they come back as they were; and a value is what they have not.
func TestKVExportsHaveSortedSets(t *testing.T) {
	t.Parallel()
	z := KVItem{Key: "z", Found: true, Members: []KVMember{NewKVMember("m", 1.5), NewKVMember("\xff", 2)}}
	c := kvClient(t, &stores{order: []string{"z"}, items: map[string]KVItem{"z": z}})
	var lines bytes.Buffer
	if _, _, err := c.Export(t.Context(), "", &lines); err != nil {
		t.Fatal(err)
	}
	if want := `{"key":"z","members":[{"member":"m","score":1.5},{"member_base64":"/w==","score":2}]}`; !strings.Contains(lines.String(), want) {
		t.Errorf("export wrote %s, want %s", lines.String(), want)
	}
	other := &stores{}
	if done, err := kvClient(t, other).Import(t.Context(), &lines); err != nil || done.Stored != 1 || done.Unsorted != 0 {
		t.Errorf("import: %+v, %v", done, err)
	}
	if got := other.items["z"].Members; len(got) != 2 || got[1].String() != "\xff" || got[0].Score != 1.5 {
		t.Errorf("the import stored %+v", got)
	}
	if _, err := c.Get(t.Context(), "z"); err == nil || !strings.Contains(err.Error(), "is a sorted set of 2 members") {
		t.Errorf("get of a sorted set: %v", err)
	}
}

// TestKVImportsSayHowFarTheyCame when the store takes no more.
func TestKVImportsSayHowFarTheyCame(t *testing.T) {
	t.Parallel()
	lines := "{\"edge_kv_export\":1}\n{\"key\":\"a\"}\n{\"key\":\"b\"}\n{\"end\":2}\n"
	for want, failed := range map[string]*KVError{
		"(1 keys were stored before)":                                     {Status: 507, Err: errors.New("full"), Stored: 1},
		"(0 keys were stored before, and maybe some of the 2 after them)": {Status: 507, Err: errors.New("full"), Unsure: true},
	} {
		s := &stores{fail: map[string]error{"b": failed}}
		if _, err := kvClient(t, s).Import(t.Context(), strings.NewReader(lines)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// FuzzKVImport: whatever a file of an export holds, the import ends, and has stored no more than it says.
func FuzzKVImport(f *testing.F) {
	f.Add("{\"edge_kv_export\":1}\n{\"key\":\"a\",\"value\":\"MQ==\",\"expires\":\"2100-01-01T00:00:00Z\"}\n{\"end\":1}\n")
	f.Add("{\"edge_kv_export\":1}\n{\"key_base64\":\"/w==\"}\n{\"error\":\"x\"}")
	f.Add("[]")
	f.Fuzz(func(t *testing.T, lines string) {
		s := &stores{items: map[string]KVItem{}}
		mux := http.NewServeMux()
		kvRoutes(mux, s)
		w := &recorder{header: http.Header{}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/kv/s/import", strings.NewReader(lines))
		if err != nil {
			t.Fatal(err)
		}
		mux.ServeHTTP(w, r)
		if w.status != http.StatusOK && w.status != http.StatusBadRequest {
			t.Errorf("%q: status %d: %s", lines, w.status, w.body.String())
		}
		if _, empty := s.items[""]; empty {
			t.Errorf("%q stored an empty key", lines)
		}
	})
}

// recorder is a response that was written.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
