package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// KVLine is a line of an export: a JSON object, one of five.
//
//	{"edge_kv_export":1,"store":"sessions"}                       the first line
//	{"key":"a","value":"aGVsbG8=","expires":"2030-01-31T12:00:00.000Z"}   a key: value in base64; expires only with a deadline;
//	                                                              key_base64 instead of key when that is not UTF-8;
//	                                                              "tags":[{"key":"red"}] with tags
//	{"key":"z","members":[{"member":"m","score":1.5}]}            a sorted set; member_base64 as with keys
//	{"key":"b","error":"… is damaged …"}                          a key that could not be read; an import leaves it out
//	{"end":2}                                                     the last line: how many keys came before
//
// An export without the last line is not whole: an import says so.
type KVLine struct {
	Format  int        `json:"edge_kv_export,omitempty"`
	Store   string     `json:"store,omitempty"`
	*KVKey             // embedded fields are left out with it
	Value   []byte     `json:"value,omitempty"`
	Expires string     `json:"expires,omitempty"`
	Tags    []KVKey    `json:"tags,omitempty"`
	Members []KVMember `json:"members,omitempty"`
	Error   string     `json:"error,omitempty"`
	End     *int64     `json:"end,omitempty"`
}

// KVImport is what an import did.
type KVImport struct {
	Stored  int64 `json:"stored"`
	Expired int64 `json:"expired"` // left out: their deadline has come
	Damaged int64 `json:"damaged"` // left out: the export could not read them

	// Untagged were stored without the tags they had: the driver has none.
	Untagged int64 `json:"untagged,omitempty"`

	// Unsorted were left out: they are sorted sets, and the driver has none.
	Unsorted int64 `json:"unsorted,omitempty"`
}

// export writes every key of a store. What changes meanwhile may be in it or not.
func (a kvAPI) export(w http.ResponseWriter, r *http.Request, store string) error {
	prefix := r.URL.Query().Get("prefix")
	keys, next, err := a.stores.Scan(r.Context(), store, prefix, "", 100) // before the head is out, so that errors have a status
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	out := bufio.NewWriterSize(w, 64<<10)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	lines.Encode(KVLine{Format: 1, Store: store}) // out keeps the first error
	written := int64(0)
	for {
		for _, k := range keys {
			line, found, err := a.line(r, store, k)
			if err != nil {
				lines.Encode(KVLine{Error: err.Error()})
				return out.Flush()
			}
			if found {
				written++
				lines.Encode(line)
			}
		}
		if next == "" {
			break
		}
		if keys, next, err = a.stores.Scan(r.Context(), store, prefix, next, 100); err != nil {
			lines.Encode(KVLine{Error: err.Error()})
			return out.Flush()
		}
	}
	lines.Encode(KVLine{End: &written})
	out.Flush() // fails only when the operator has gone
	return nil
}

// line is one key of an export. One that cannot be read does not end it, unless nobody waits for it any more.
func (a kvAPI) line(r *http.Request, store, k string) (line KVLine, found bool, err error) {
	if err := r.Context().Err(); err != nil {
		return line, false, err
	}
	name := NewKVKey(k)
	line.KVKey = &name
	item, err := a.stores.Get(r.Context(), store, k)
	if err != nil {
		line.Error = err.Error()
		return line, true, nil
	}
	line.Value, line.Expires, line.Members = item.Value, formatDeadline(item.Expires), item.Members
	for _, tag := range item.Tags {
		line.Tags = append(line.Tags, NewKVKey(tag))
	}
	return line, item.Found, nil
}

// An import stores so many keys, or bytes, at once.
const (
	importItems = 500
	importBytes = 4 << 20
)

// load is the import.
func (a kvAPI) load(w http.ResponseWriter, r *http.Request, store string) error {
	var (
		done  KVImport
		batch []KVItem
		size  int
		lines = json.NewDecoder(r.Body)
	)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		tagged := taggedOf(batch)
		if err := a.stores.Set(r.Context(), store, batch); err != nil {
			return importFailed(err, done.Stored, len(batch))
		}
		left := leftOut(batch)
		done.Stored += int64(len(batch)) - left
		done.Unsorted += left
		done.Untagged += tagged - taggedOf(batch)
		batch, size = batch[:0], 0
		return nil
	}
	var end error // what is wrong with the whole of it
	for n := 1; ; n++ {
		var line KVLine
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return errors.Join(flush(), wrong("line %d: the export is not whole: its last line is missing; the %d keys before were stored", n, done.Stored+int64(len(batch))))
		}
		if err != nil {
			return errors.Join(flush(), wrong("line %d is no line of an export: %w", n, err))
		}
		if n == 1 && line.Format != 1 {
			return wrong("line 1 is not {\"edge_kv_export\":1, …}: this is no export of `edge kv export`")
		}
		if line.End != nil {
			end = line.whole(done.Stored+done.Expired+done.Damaged+done.Unsorted+int64(len(batch)), lines.More())
			break
		}
		item, ok, err := line.item(n, &done)
		if err != nil {
			return errors.Join(flush(), err)
		}
		if !ok {
			continue
		}
		batch = append(batch, item)
		if size += len(item.Value) + 32*len(item.Members); len(batch) == importItems || size >= importBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(flush(), end); err != nil {
		return err
	}
	answer(w, http.StatusOK, done)
	return nil
}

// importFailed says how far an import came that could not store the items of its last batch.
func importFailed(err error, before int64, batch int) error {
	stored, more := before, ""
	var known *KVError
	if errors.As(err, &known) {
		if stored += int64(known.Stored); known.Unsure {
			more = fmt.Sprintf(", and maybe some of the %d after them", batch-known.Stored)
		}
	}
	return &KVError{Status: kvStatus(err), Err: fmt.Errorf("%w (%d keys were stored before%s)", err, stored, more)}
}

// leftOut counts the sorted sets that a driver could not take.
func leftOut(items []KVItem) (n int64) {
	for _, item := range items {
		if len(item.Members) > 0 && !item.Found {
			n++
		}
	}
	return n
}

// taggedOf counts the items with tags.
func taggedOf(items []KVItem) (n int64) {
	for _, item := range items {
		if len(item.Tags) > 0 {
			n++
		}
	}
	return n
}

// whole compares a last line with what came before it.
func (l KVLine) whole(keys int64, more bool) error {
	switch {
	case more:
		return wrong("the file goes on after the last line of the export: the %d keys before were stored; import one export at a time", keys)
	case *l.End != keys:
		return wrong("the export is not whole: its last line says %d keys, and there are %d, which were stored", *l.End, keys)
	}
	return nil
}

// item is the key of a line, if it is to be stored.
func (l KVLine) item(n int, done *KVImport) (item KVItem, ok bool, err error) {
	switch {
	case l.Format != 0:
		return item, false, nil
	case l.KVKey == nil && l.Error != "":
		return item, false, wrong("line %d: the export has ended with an error: %s", n, l.Error)
	case l.KVKey == nil || l.KVKey.String() == "":
		return item, false, wrong("line %d has no key", n)
	case l.Error != "":
		done.Damaged++
		return item, false, nil
	}
	item = KVItem{Key: l.KVKey.String(), Value: l.Value, Members: l.Members, Found: true}
	for _, tag := range l.Tags {
		item.Tags = append(item.Tags, tag.String())
	}
	if l.Expires != "" {
		if item.Expires, err = time.Parse(time.RFC3339, l.Expires); err != nil {
			return item, false, wrong("line %d: expires: %q is no time in RFC 3339", n, l.Expires)
		}
		if !item.Expires.After(time.Now()) {
			done.Expired++
			return item, false, nil
		}
	}
	return item, true, nil
}
