package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errCutOff = errors.New("malformed: it is cut off")

// reader takes values off the front of a section or a function. at is the offset of the next byte in the module.
type reader struct {
	rest []byte
	at   int
}

func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.rest) {
		return nil, errCutOff
	}
	taken := r.rest[:n]
	r.rest, r.at = r.rest[n:], r.at+n
	return taken, nil
}

func (r *reader) byte() (byte, error) {
	if len(r.rest) == 0 {
		return 0, errCutOff
	}
	b := r.rest[0]
	r.rest, r.at = r.rest[1:], r.at+1
	return b, nil
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) u32() (uint32, error) {
	var v uint64
	for i := range 5 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v), nil
		}
	}
	return 0, errors.New("malformed: a number of more than 32 bits")
}

// s33 reads the signed LEB128 number that a block type is.
func (r *reader) s33() (int64, error) {
	var v int64
	for i := range 5 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		v |= int64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if shift := 7 * (i + 1); b&0x40 != 0 {
				v |= -1 << shift
			}
			return v, nil
		}
	}
	return 0, errors.New("malformed: a block type of more than 33 bits")
}

// skipLEB skips a number of at most size bytes.
func (r *reader) skipLEB(size int) error {
	for range size {
		b, err := r.byte()
		if err != nil || b < 0x80 {
			return err
		}
	}
	return errors.New("malformed: a number is too long")
}

// sized reads a length and gives a reader for that many bytes.
func (r *reader) sized() (reader, error) {
	n, err := r.u32()
	if err != nil {
		return reader{}, err
	}
	at := r.at
	content, err := r.take(int(n))
	return reader{content, at}, err
}

// count reads how many items follow, each of at least size bytes.
func (r *reader) count(size int) (int, error) {
	n, err := r.u32()
	if err != nil {
		return 0, err
	}
	if int64(n)*int64(size) > int64(len(r.rest)) {
		return 0, fmt.Errorf("malformed: %d items in %d bytes", n, len(r.rest))
	}
	return int(n), nil
}

func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// appendS64 appends a signed LEB128 number, which is also how the smaller signed ones are written.
func appendS64(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, name string) []byte {
	return append(appendU32(b, uint32(len(name))), name...)
}
