package memory

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edge-server/edge/kv"
)

// A snapshot is the magic, records, and the SHA-256 of all of these. A record is a kind byte, the deadline in milliseconds, the
// key, and a value or the members of a set; numbers are varints. The record of kind 0 is the last.
//
// The file is removed once it was read: after a crash a store is empty rather than as it was at the last orderly stop, in which
// keys that were deleted since would be there again.
const (
	snapshotMagic = "EDGEKV\r\n"
	snapshotV1    = 1

	tempMark = ".tmp-" // after the name of the snapshot: one that is being written

	recordEnd   = 0
	recordValue = 1
	recordSet   = 2
)

var errDamaged = errors.New("the file is damaged")

// save writes the snapshot: whole under another name, flushed, and only then under its own.
func (s *Store) save(ctx context.Context) (err error) {
	if s.snapshot == "" || s.givenAway.Load() {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write snapshot %s: %w", s.snapshot, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(s.snapshot), filepath.Base(s.snapshot)+tempMark+"*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	if err := errors.Join(s.writeSnapshot(ctx, f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.snapshot); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.snapshot))
}

func (s *Store) writeSnapshot(ctx context.Context, f io.Writer) error {
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 256<<10)
	w.WriteString(snapshotMagic) // a bufio.Writer keeps its first error for Flush
	_ = w.WriteByte(snapshotV1)
	now := s.now().UnixMilli()
	var record []byte
	for key, e := range s.cache.All() {
		if e.expires != 0 && e.expires <= now {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		record = appendRecord(record[:0], key, e)
		if _, err := w.Write(record); err != nil {
			return err
		}
	}
	w.WriteByte(recordEnd) //nolint:errcheck
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := f.Write(sum.Sum(nil))
	return err
}

func appendRecord(b []byte, key string, e entry) []byte {
	kind := byte(recordValue)
	if e.set != nil {
		kind = recordSet
	}
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(e.expires))
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	if e.set == nil {
		b = binary.AppendUvarint(b, uint64(len(e.value)))
		return append(b, e.value...)
	}
	members := e.set.span(kv.Span{Start: 0, Stop: -1})
	b = binary.AppendUvarint(b, uint64(len(members)))
	for _, m := range members {
		b = binary.AppendUvarint(b, math.Float64bits(m.Score))
		b = binary.AppendUvarint(b, uint64(len(m.Member)))
		b = append(b, m.Member...)
	}
	return b
}

// load reads the snapshot, if there is one, and takes it away. A file that is not whole puts nothing into the store and is moved
// aside; a file that is none of ours is left alone, and an error.
func (s *Store) load() error {
	if s.snapshot == "" {
		return nil
	}
	s.tidy()
	f, err := os.Open(s.snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return s.writable()
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer f.Close()
	size, err := verify(f)
	switch {
	case errors.Is(err, errDamaged):
		bad := s.snapshot + ".bad"
		if err := os.Rename(s.snapshot, bad); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		s.log.Error("the snapshot of a memory store is damaged: the store starts empty, the file was put aside", "error", err, "file", bad)
		return nil
	case err != nil:
		return fmt.Errorf("snapshot %s: %w", s.snapshot, err)
	}
	if err := s.fill(bufio.NewReaderSize(io.LimitReader(f, size), 256<<10), size); err != nil {
		return fmt.Errorf("snapshot %s: %w", s.snapshot, err)
	}
	if err := os.Remove(s.snapshot); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return syncDir(filepath.Dir(s.snapshot))
}

// tidy removes what a stop that was killed in the middle has left of its snapshot. What cannot be removed is in nobody's way.
func (s *Store) tidy() {
	dir, name := filepath.Split(s.snapshot)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return // the snapshot itself will say why
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name+tempMark) && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// writable finds out at the start, and not at the stop, that a snapshot cannot be written.
func (s *Store) writable() error {
	dir := filepath.Dir(s.snapshot)
	f, err := os.CreateTemp(dir, filepath.Base(s.snapshot)+tempMark+"*")
	if err != nil {
		return fmt.Errorf("snapshot: %s must be a folder that Edge may write to: %w", dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// verify checks magic, version and sum, leaves f at the first record, and returns the length of the records.
func verify(f *os.File) (int64, error) {
	const head = len(snapshotMagic) + 1
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	start := make([]byte, head)
	if n, err := io.ReadFull(f, start); err != nil || string(start[:head-1]) != snapshotMagic {
		if n < head && bytes.HasPrefix([]byte(snapshotMagic), start[:n]) {
			return 0, fmt.Errorf("%w: it ends after %d bytes", errDamaged, n)
		}
		return 0, errors.New("the file is no snapshot of Edge: name another file, or remove this one")
	}
	if start[head-1] != snapshotV1 {
		return 0, fmt.Errorf("the file has version %d, this Edge reads version %d: start the Edge that wrote it, or remove the file",
			start[head-1], snapshotV1)
	}
	records := info.Size() - int64(head) - sha256.Size
	if records < 1 {
		return 0, fmt.Errorf("%w: it ends after %d bytes", errDamaged, info.Size())
	}
	sum := sha256.New()
	sum.Write(start)
	if _, err := io.CopyN(sum, f, records); err != nil {
		return 0, err
	}
	end := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, end); err != nil {
		return 0, err
	}
	if !bytes.Equal(end, sum.Sum(nil)) {
		return 0, fmt.Errorf("%w: its sum is wrong", errDamaged)
	}
	_, err = f.Seek(int64(head), io.SeekStart)
	return records, err
}

// fill reads records. The sum was right, so an error is one of ours, or there is no room.
func (s *Store) fill(r *bufio.Reader, size int64) error {
	for {
		kind, err := r.ReadByte()
		if err != nil || kind == recordEnd {
			return err
		}
		expires, err := binary.ReadUvarint(r)
		if err != nil {
			return err
		}
		key, err := readBytes(r, size)
		if err != nil {
			return err
		}
		item := kv.Item{Key: string(key)}
		if expires != 0 {
			item.Expires = time.UnixMilli(int64(expires))
		}
		switch kind {
		case recordValue:
			if item.Value, err = readBytes(r, size); err == nil {
				err = s.Set(context.Background(), []kv.Item{item})
			}
		case recordSet:
			err = s.fillSet(r, item, size)
		default:
			err = fmt.Errorf("it has a record of the unknown kind %d", kind)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Store) fillSet(r *bufio.Reader, item kv.Item, size int64) error {
	count, err := binary.ReadUvarint(r)
	if err != nil || count > uint64(size) {
		return errors.Join(err, errDamaged)
	}
	var members []kv.Ranked
	for range count {
		bits, err := binary.ReadUvarint(r)
		if err != nil {
			return err
		}
		member, err := readBytes(r, size)
		if err != nil {
			return err
		}
		members = append(members, kv.Ranked{Member: string(member), Score: math.Float64frombits(bits)})
	}
	if _, err := s.ZAdd(context.Background(), item.Key, members); err != nil {
		return err
	}
	if item.Expires.IsZero() {
		return nil
	}
	return s.Expire(context.Background(), []kv.Item{item})
}

// readBytes reads a length, at most that of the whole file, and as many bytes.
func readBytes(r *bufio.Reader, most int64) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(most) {
		return nil, errDamaged
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return b, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
