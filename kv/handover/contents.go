package handover

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edge-server/edge/kv"
)

// record is a key on its way from one process to the other. The one that is the last has nothing else.
type record struct {
	Key     string
	Value   []byte
	Expires time.Time
	Members []kv.Ranked // of a sorted set, instead of Value
	Last    bool
}

// Movable reports whether Write can read all that a driver holds.
func Movable(can kv.Can) bool { return can.Has(kv.CanScan|kv.CanTTL) && can&kv.CanShared == 0 }

// Write writes all that a driver holds.
func Write(ctx context.Context, w io.Writer, driver kv.Store) error {
	buffer := bufio.NewWriterSize(w, 256<<10)
	encoder := gob.NewEncoder(buffer)
	for cursor := ""; ; {
		keys, next, err := driver.Scan(ctx, "", cursor, 512)
		if err == nil {
			err = writePage(ctx, encoder, driver, keys)
		}
		if err != nil {
			return err
		}
		if next == "" {
			break
		}
		cursor = next
	}
	if err := encoder.Encode(record{Last: true}); err != nil {
		return err
	}
	return buffer.Flush()
}

func writePage(ctx context.Context, encoder *gob.Encoder, driver kv.Store, keys []string) error {
	values := make([]kv.Item, len(keys))
	for i, key := range keys {
		values[i].Key = key
	}
	deadlines := append([]kv.Item(nil), values...)
	if err := errors.Join(driver.Get(ctx, values), driver.TTL(ctx, deadlines)); err != nil {
		return err
	}
	for i := range values {
		if !deadlines[i].Found {
			continue // it has expired
		}
		r := record{Key: keys[i], Value: values[i].Value, Expires: deadlines[i].Expires}
		if !values[i].Found {
			if !driver.Can().Has(kv.CanSorted) {
				continue
			}
			var err error
			if r.Members, err = driver.ZRange(ctx, keys[i], kv.Span{Start: 0, Stop: -1}); err != nil {
				return err
			}
			if len(r.Members) == 0 {
				continue
			}
		}
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// Read puts what Write has written into a driver.
func Read(ctx context.Context, r io.Reader, driver kv.Store) error {
	decoder := gob.NewDecoder(bufio.NewReaderSize(r, 256<<10))
	items := make([]kv.Item, 0, 256)
	flush := func() error {
		err := driver.Set(ctx, items)
		items = items[:0]
		return err
	}
	for {
		var next record
		if err := decoder.Decode(&next); err != nil {
			return fmt.Errorf("the contents end early: %w", err)
		}
		switch {
		case next.Last:
			return flush()
		case next.Members == nil:
			items = append(items, kv.Item{Key: next.Key, Value: next.Value, Expires: next.Expires})
			if len(items) == cap(items) {
				if err := flush(); err != nil {
					return err
				}
			}
		default:
			if _, err := driver.ZAdd(ctx, next.Key, next.Members); err != nil {
				return err
			}
			if next.Expires.IsZero() {
				continue
			}
			if err := driver.Expire(ctx, []kv.Item{{Key: next.Key, Expires: next.Expires}}); err != nil {
				return err
			}
		}
	}
}
