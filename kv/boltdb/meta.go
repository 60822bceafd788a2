package boltdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// A bbolt file begins with two meta pages: a page header of 16 bytes, then in the order of the processor magic, version, page
// size and flags (4 bytes each), root page and sequence, free list, end of the file in pages, transaction, checksum (8 each).
const (
	metaAt      = 16
	metaLength  = 64
	metaSummed  = 56
	boltMagic   = 0xED0CDAED
	boltVersion = 2
)

// checkSize compares the length of a file with what its newest valid meta page says. bbolt maps the file and trusts it; the first
// look beyond the end of a file that was cut off would end the process. A file that is not there, or empty, is fine.
func checkSize(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	head := make([]byte, 1<<17) // pages are 64 KiB at most, so both metas are in it
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if want, ok := newestMeta(head[:n]); ok && want > info.Size() {
		return fmt.Errorf("%s is cut off: it has %d bytes of %d; put a backup in its place", path, info.Size(), want)
	}
	return nil // bbolt has the word for what is no meta page at all
}

// newestMeta returns the length of a file according to the meta page with the highest transaction that checks out.
func newestMeta(head []byte) (size int64, ok bool) {
	var newest uint64
	for at := 0; at+metaAt+metaLength <= len(head); at = max(2*at, 1024) { // the second one is where the page size says
		meta := head[at+metaAt:]
		word := func(i int) uint64 { return binary.NativeEndian.Uint64(meta[i:]) }
		sum := fnv.New64a()
		sum.Write(meta[:metaSummed])
		if binary.NativeEndian.Uint32(meta) != boltMagic || binary.NativeEndian.Uint32(meta[4:]) != boltVersion || word(metaSummed) != sum.Sum64() {
			continue
		}
		pageSize, pages, tx := uint64(binary.NativeEndian.Uint32(meta[8:])), word(40), word(48)
		if (!ok || tx > newest) && pages < 1<<40 {
			newest, size, ok = tx, int64(pageSize*pages), true
		}
	}
	return size, ok
}
