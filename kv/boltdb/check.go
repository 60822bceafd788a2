package boltdb

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/edge-server/edge/kv"
)

// magicOffset is where the first page of a bolt file has its magic number, behind the header of the page.
const magicOffset = 16

// Check looks for what would keep stores, by their names, from being opened, and opens no file: a server may have it. Folders that are
// not there yet are the caller's affair.
func Check(stores map[string]kv.BoltConfig) map[string]error {
	files := map[string]*file{}
	problems := map[string]error{}
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		if err := checkStore(files, name, stores[name]); err != nil {
			problems[name] = err
		}
	}
	return problems
}

func checkStore(files map[string]*file, name string, cfg kv.BoltConfig) error {
	path, err := resolve(cfg.File)
	if err != nil {
		return err
	}
	if cfg.Bucket == "" {
		cfg.Bucket = name
	}
	f, known := files[path]
	if !known {
		f = &file{path: path, cfg: cfg, owner: name, stores: map[string]*Store{}}
		files[path] = f
		err = checkFile(path)
	} else {
		err = f.agrees(cfg)
	}
	return errors.Join(err, f.join(&Store{name: name, bucket: []byte(cfg.Bucket)}))
}

// checkFile reports what is at path and is no file that can be read and written as one of bolt.
func checkFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("boltdb.file %s is no file: name one, which is created when it is not there", path)
	}
	if err != nil {
		return fmt.Errorf("boltdb.file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("boltdb.file: %w; the server has to read and write it", err)
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, magicOffset); err != nil || string(magic) != "\xed\xda\x0c\xed" {
		return fmt.Errorf("boltdb.file %s is not a file of bolt: name another one, or move it away", path)
	}
	return nil
}
