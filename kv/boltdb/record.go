package boltdb

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// recordV1 begins a record. A gob message begins with its length, a byte below 0x80 or above 0xF7.
const recordV1 = 0xE1

// recordHead is what stands before the value: format, checksum, deadline.
const recordHead = 1 + 4 + 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is a value with its deadline.
type record struct {
	value   []byte
	expires int64 // Unix time in milliseconds; 0 = never
	foreign bool  // RoadRunner wrote it
}

func (r record) expired(now int64) bool { return r.expires != 0 && r.expires <= now }

// Reasons why a record is not one.
var (
	errShort    = errors.New("it is cut off")
	errChecksum = errors.New("its checksum does not match")
	errDeadline = errors.New("its deadline is negative")
	errFormat   = errors.New("it is neither Edge's nor RoadRunner's format")
)

// encode returns the record of key. The checksum covers the key, so that a value cannot turn up under another one.
func encode(key string, value []byte, expires int64) []byte {
	data := make([]byte, recordHead+len(value))
	data[0] = recordV1
	binary.BigEndian.PutUint64(data[5:], uint64(expires))
	copy(data[recordHead:], value)
	binary.BigEndian.PutUint32(data[1:], checksum(key, data[5:]))
	return data
}

func checksum(key string, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, rest)
}

// parse reads what stands under key. The value is a part of data.
func parse(key string, data []byte) (record, error) {
	if len(data) == 0 {
		return record{}, errShort
	}
	if data[0] != recordV1 {
		value, ok := parseGob(data)
		if !ok {
			return record{}, errFormat
		}
		return record{value: value, foreign: true}, nil
	}
	if len(data) < recordHead {
		return record{}, errShort
	}
	if binary.BigEndian.Uint32(data[1:]) != checksum(key, data[5:]) {
		return record{}, errChecksum
	}
	expires := int64(binary.BigEndian.Uint64(data[5:]))
	if expires < 0 {
		return record{}, errDeadline
	}
	return record{value: data[recordHead:], expires: expires}, nil
}

// gob's numbers of the types []byte and string, as they stand in a message: doubled, since they are signed.
const (
	gobBytes  = 5 << 1
	gobString = 6 << 1
)

// parseGob reads a gob stream of one []byte, or of a string as early RoadRunners wrote it: the length of the message, the type,
// 0 for "no struct", the length of the value, the value. encoding/gob itself is not made for data that may be hostile.
func parseGob(data []byte) ([]byte, bool) {
	size, rest, ok := gobUint(data)
	if !ok || size != uint64(len(rest)) {
		return nil, false
	}
	if len(rest) < 2 || rest[0] != gobBytes && rest[0] != gobString || rest[1] != 0 {
		return nil, false
	}
	size, value, ok := gobUint(rest[2:])
	if !ok || size != uint64(len(value)) {
		return nil, false
	}
	return value, true
}

// gobUint reads an unsigned number: below 0x80 a byte, else its bytes behind the negated count of them.
func gobUint(data []byte) (n uint64, rest []byte, ok bool) {
	if len(data) == 0 {
		return 0, nil, false
	}
	first, rest := data[0], data[1:]
	if first < 0x80 {
		return uint64(first), rest, true
	}
	width := -int(int8(first))
	if width > 8 || width > len(rest) {
		return 0, nil, false
	}
	for _, b := range rest[:width] {
		n = n<<8 | uint64(b)
	}
	return n, rest[width:], true
}

// indexKey is the entry of the expiry index: it sorts by deadline.
func indexKey(expires int64, key []byte) []byte {
	data := make([]byte, 8, 8+len(key))
	binary.BigEndian.PutUint64(data, uint64(expires))
	return append(data, key...)
}

// parseIndexKey is the inverse of indexKey.
func parseIndexKey(data []byte) (expires int64, key []byte, ok bool) {
	if len(data) <= 8 {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(data)), data[8:], true
}

// millis rounds up, so that a key never ends before its deadline. Deadlines before 1970 are as past as 1970.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, t.Add(time.Millisecond-1).UnixMilli())
}

// deadline is the inverse of millis.
func deadline(expires int64) time.Time {
	if expires == 0 {
		return time.Time{}
	}
	return time.UnixMilli(expires)
}
