package fastcgi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrRecord means bytes that are no FastCGI record of the request at hand.
var ErrRecord = errors.New("not a FastCGI record")

const firstBuffer = 16 << 10

// Reader reads records. When the connection's deadline passes it can go on later: nothing that came is lost.
type Reader struct {
	r     io.Reader
	id    uint16
	buf   []byte
	start int // of what was read and not given out
	end   int
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r, buf: make([]byte, firstBuffer)} }

// Reset forgets what is buffered and reads from r.
func (r *Reader) Reset(from io.Reader) { r.r, r.start, r.end = from, 0, 0 }

// Expect sets the number of the request whose answer is read. A record of another request is an error.
func (r *Reader) Expect(id uint16) { r.id = id }

// Buffered is how many bytes came that nobody has taken.
func (r *Reader) Buffered() int { return r.end - r.start }

// Ready reports whether Next will not need to read.
func (r *Reader) Ready() bool {
	size, err := r.size()
	return err != nil || size > 0 && r.Buffered() >= size
}

// size is the length of the first record in the buffer, 0 when its header is not there yet.
func (r *Reader) size() (int, error) {
	if r.Buffered() < HeaderLen {
		return 0, nil
	}
	h := r.buf[r.start:]
	id, want := binary.BigEndian.Uint16(h[2:]), r.id
	if Type(h[1]) >= GetValues {
		want = 0
	}
	if h[0] != version || id != want {
		return 0, fmt.Errorf("%w: %q", ErrRecord, h[:HeaderLen])
	}
	return HeaderLen + int(binary.BigEndian.Uint16(h[4:])) + int(h[6]), nil
}

// Next returns the next record. Its content is valid until the next call. io.EOF means the end between two records.
func (r *Reader) Next() (Type, []byte, error) {
	for {
		size, err := r.size()
		if err != nil {
			return 0, nil, err
		}
		if size > 0 && r.Buffered() >= size {
			h := r.buf[r.start : r.start+size]
			r.start += size
			return Type(h[1]), h[HeaderLen : HeaderLen+int(binary.BigEndian.Uint16(h[4:]))], nil
		}
		if err := r.fill(max(size, HeaderLen)); err != nil {
			return 0, nil, err
		}
	}
}

// fill reads once. There is room for a record of that size at least.
func (r *Reader) fill(size int) error {
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	if r.start+size > len(r.buf) {
		buf := r.buf
		if size > len(buf) {
			buf = make([]byte, HeaderLen+MaxContent+255) // the largest there is
		}
		r.end = copy(buf, r.buf[r.start:r.end])
		r.buf, r.start = buf, 0
	}
	n, err := r.r.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if err == io.EOF && r.Buffered() > 0 {
		return io.ErrUnexpectedEOF
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}
