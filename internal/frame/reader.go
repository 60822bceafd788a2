package frame

import (
	"encoding/binary"
	"io"
)

const (
	// initialBuffer holds a usual request or answer whole, so that one read gets it.
	initialBuffer = 8 << 10
	// slack makes a buffer that grew for a payload large enough for the header of the next such frame, too, so that it comes with
	// one read and is not moved.
	slack = 4 << 10
	// growStep bounds what a header may make a Reader allocate before the bytes it announces have come.
	growStep = 1 << 20
	// emptyReads is the number of reads without data or error after which the source is called broken, as in bufio.
	emptyReads = 100
)

// Reader reads frames from a pipe or a connection. It is not safe for concurrent use.
//
// An error of the source leaves the Reader usable: after a deadline that was moved, the same call goes on where it stopped.
// After a *JunkError, *SizeError or ErrHeader nothing more can be read, since it is unknown where the next frame begins.
type Reader struct {
	src  io.Reader
	max  uint32
	buf  []byte // bytes read and not yet handed out are buf[pos:end]
	pos  int
	end  int
	left uint32 // bytes of the current payload not handed out
}

// NewReader returns a Reader of src that refuses payloads of more than maxPayload bytes.
func NewReader(src io.Reader, maxPayload uint32) *Reader {
	return &Reader{src: src, max: maxPayload, buf: make([]byte, initialBuffer)}
}

// SetLimit changes the largest payload for frames whose header was not read yet.
func (r *Reader) SetLimit(maxPayload uint32) { r.max = maxPayload }

// Next reads the next frame whole. What was not taken of the frame before is skipped. The payload is valid until the next
// call; Exchange keeps it longer.
func (r *Reader) Next() (Header, []byte, error) {
	h, err := r.Head()
	if err != nil {
		return Header{}, nil, err
	}
	payload, err := r.Take(int(h.Len))
	return h, payload, err
}

// Head reads the header of the next frame, skipping what was not taken of the frame before. Calling it again after an error
// of the source is safe; once it succeeded, Take gives the payload. At a clean end of the source it returns io.EOF.
func (r *Reader) Head() (Header, error) {
	if err := r.skip(); err != nil {
		return Header{}, err
	}
	if err := r.need(HeaderLen); err != nil {
		return Header{}, err
	}
	b := r.buf[r.pos:r.end]
	if string(b[:HeaderLen]) == notFoundPrefix || binary.LittleEndian.Uint32(b[crcOffset:]) != checksum(b) {
		return Header{}, r.junk()
	}
	words := wordsOf(b)
	if words == 0 {
		return Header{}, ErrHeader
	}
	if err := r.need(words * 4); err != nil {
		return Header{}, err
	}

	h := headerOf(r.buf[r.pos:r.end], words)
	if h.Len > r.max {
		return Header{}, &SizeError{Size: h.Len, Limit: r.max}
	}
	r.pos += words * 4
	r.left = h.Len
	return h, nil
}

// Take returns the next n bytes of the payload, or what is left of it when that is less. They are valid until the next call.
// Calling it again after an error of the source is safe.
func (r *Reader) Take(n int) ([]byte, error) {
	n = min(n, int(r.left))
	if err := r.need(n); err != nil {
		return nil, midFrame(err)
	}
	b := r.buf[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	r.left -= uint32(n)
	return b, nil
}

// Await reads until n bytes of the payload are buffered, or what is left of it when that is less. Calling it again after an error
// of the source is safe.
func (r *Reader) Await(n int) error { return midFrame(r.need(min(n, int(r.left)))) }

// Passed notes that n bytes of the payload went another way, when nothing is buffered.
func (r *Reader) Passed(n int) { r.left -= uint32(n) }

// Left returns how many bytes of the current frame's payload were not taken.
func (r *Reader) Left() uint32 { return r.left }

// Buffered returns how many bytes were read ahead of what was handed out.
func (r *Reader) Buffered() int { return r.end - r.pos }

// Exchange gives the Reader's buffer away, so that what Next and Take returned last stays valid for as long as the caller
// wants, and goes on with buf, which it keeps. Bytes that were read ahead move over.
func (r *Reader) Exchange(buf []byte) []byte {
	old := r.buf
	rest := old[r.pos:r.end]
	buf = buf[:cap(buf)]
	if want := max(len(rest), HeaderLen); len(buf) < want {
		buf = make([]byte, max(want, initialBuffer))
	}
	r.end = copy(buf, rest)
	r.pos, r.buf = 0, buf
	return old
}

// Drain returns what is buffered and what the source still gives until it fails or limit bytes are there. It is for telling
// what a broken peer said; set a deadline on the source first.
func (r *Reader) Drain(limit int) []byte {
	for r.end-r.pos < limit {
		if r.need(r.end-r.pos+1) != nil {
			break
		}
	}
	out := append([]byte(nil), r.buf[r.pos:min(r.end, r.pos+limit)]...)
	r.pos, r.end = 0, 0
	return out
}

// skip drops the rest of the current frame's payload.
func (r *Reader) skip() error {
	for r.left > 0 {
		if _, err := r.Take(len(r.buf)); err != nil {
			return err
		}
	}
	return nil
}

// need reads until n bytes are buffered. It asks for as much as the buffer holds each time, so that a frame that is there
// whole costs one read.
func (r *Reader) need(n int) error {
	if r.end-r.pos >= n {
		return nil
	}
	for empty := 0; r.end-r.pos < n; {
		r.makeRoom(n)
		got, err := r.src.Read(r.buf[r.end:])
		r.end += got
		if got > 0 {
			empty = 0
			continue
		}
		if err == nil {
			if empty++; empty < emptyReads {
				continue
			}
			err = io.ErrNoProgress
		}
		if err == io.EOF && r.end > r.pos {
			return r.truncated()
		}
		return err
	}
	return nil
}

// makeRoom sees to free space at the end of the buffer for a frame part of n bytes, of which fewer are there. It grows in
// steps, so that a header that lies about its length costs little.
func (r *Reader) makeRoom(n int) {
	if r.pos == r.end {
		r.pos, r.end = 0, 0
	}
	size := len(r.buf)
	if want := min(n, growStep); size < want {
		size = want + slack
	} else if r.end-r.pos == size {
		size = min(n, 2*size)
	}
	switch {
	case size > len(r.buf):
		grown := make([]byte, size)
		r.end = copy(grown, r.buf[r.pos:r.end])
		r.pos, r.buf = 0, grown
	case r.pos > 0 && r.pos+n > size:
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
}

// truncated is the error for a source that ended inside a frame, or that was no frame to begin with.
func (r *Reader) truncated() error {
	if r.left == 0 && r.end-r.pos < HeaderLen {
		return r.junk()
	}
	return io.ErrUnexpectedEOF
}

// junk reports the buffered bytes, which are no frame.
func (r *Reader) junk() error {
	b := r.buf[r.pos:min(r.end, r.pos+maxJunk)]
	return &JunkError{Junk: append([]byte(nil), b...)}
}

// midFrame turns a clean end of the source inside a frame into an unclean one.
func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
