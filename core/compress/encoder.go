package compress

import (
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoder compresses one answer after another.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// The levels spend about as much time on a byte as gzip's middle one.
const (
	brotliLevel = 4
	gzipLevel   = 5

	// brotliWindow and zstdWindow bound the memory of an encoder: an answer is rarely larger than what they remember.
	brotliWindow = 18 // bits
	zstdWindow   = 256 << 10
)

// encoders keeps those of one encoding that are not used.
type encoders struct{ pool sync.Pool }

func newEncoders(name string) *encoders {
	return &encoders{pool: sync.Pool{New: func() any { return newEncoder(name) }}}
}

func newEncoder(name string) encoder {
	switch name {
	case "zstd":
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(fmt.Sprintf("compress: options of zstd: %v", err)) // they are written here
		}
		return e
	case "br":
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindow})
	default:
		e, err := gzip.NewWriterLevel(nil, gzipLevel)
		if err != nil {
			panic(fmt.Sprintf("compress: level of gzip: %v", err))
		}
		return e
	}
}

func (p *encoders) get(w io.Writer) encoder {
	e := p.pool.Get().(encoder)
	e.Reset(w)
	return e
}

func (p *encoders) put(e encoder) {
	e.Reset(nil)
	p.pool.Put(e)
}
