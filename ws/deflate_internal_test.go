package ws

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/flate"
)

// ended compresses with a last block at the end, as RFC 7692, 7.2.1 allows.
func ended(b []byte, dict []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriterDict(&out, flate.DefaultCompression, dict)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func flushed(b []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.DefaultCompression)
	w.Write(b)
	w.Flush()
	return bytes.TrimSuffix(out.Bytes(), flushTail)
}

// TestInflateLastBlocks: nothing behind a block that says it is the last one is lost.
func TestInflateLastBlocks(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 9000)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(noise)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	hello := []byte("hello, hello, hello")
	for _, tt := range []struct {
		name string
		in   []byte
		want []byte // nil: refused
	}{
		{"of the RFC, 7.2.3.4", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, []byte("Hello")},
		{"of the RFC, 7.2.3.5", []byte{0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00}, []byte("Hello")},
		{"nothing behind", ended(hello, nil), hello},
		{"an empty block behind", append(ended(hello, nil), 0), hello},
		{"two, nothing behind", join(ended(hello, nil), ended(hello, nil)), join(hello, hello)},
		{"more behind", join(ended(hello, nil), flushed(hello)), join(hello, hello)},
		{"more than a buffer behind", join(ended(hello, nil), flushed(noise)), join(hello, noise)},
		{"what looks back", join(ended(hello, nil), ended(hello, hello), []byte{0}), join(hello, hello)},
		{"noise behind", join(ended(hello, nil), bytes.Repeat([]byte{0xff}, 3000)), nil},
		{"more noise behind", join(ended(hello, nil), bytes.Repeat([]byte{0xff}, 6000)), nil},
		{"too many", bytes.Repeat(ended(nil, nil), maxLastBlocks+5), nil},
	} {
		got, err := inflate(append(bytes.Clone(tt.in), streamTail...), 1<<20, false)
		switch {
		case tt.want == nil:
			var breach *frameError
			if !errors.As(err, &breach) || breach.code != CloseInvalidPayload {
				t.Errorf("%s: %v", tt.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case !bytes.Equal(*got, tt.want):
			t.Errorf("%s: got %d bytes, want %d", tt.name, len(*got), len(tt.want))
		}
	}
	if _, err := inflate(append(join(ended(hello, nil), flushed(hello)), streamTail...), len(hello), false); err == nil {
		t.Error("the limit does not hold for what is behind a last block")
	}
}

// TestOfferInQuotes: what stands in a quoted string is no offer.
func TestOfferInQuotes(t *testing.T) {
	t.Parallel()
	for offer, want := range map[string]bool{
		`x-other; a="b, permessage-deflate"`:                       false,
		`x-other; a="b\", permessage-deflate"`:                     false,
		`x-other; a="b, c", permessage-deflate`:                    true,
		`x-other; a="b;\\", permessage-deflate`:                    true,
		`permessage-deflate; server_max_window_bits="12;x", other`: false,
	} {
		if mode, _ := negotiate([]string{offer}); mode.on != want {
			t.Errorf("%s: %t", offer, mode.on)
		}
	}
}
