package kv

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// A Fetch is the method of the same name: what MGet does, for sdk/php, in the codec RAW. Taking fifty values out of a message by hand
// takes PHP longer than all the rest; what its own unserialize() reads, it has in a tenth of the time. The argument is
//
//	how (1 byte)  storage  NUL  key  NUL  key …
//
// and the answer serialize([values, texts]): two arrays by key, in the order of the request, without those that do not exist. In texts
// are the bytes that are stored. In values are, with how '1', what serialize() made of scalars and arrays of them; with how '0' there is
// nothing. A key with a NUL in it is asked for by MGet.
//
// With how '2' everything behind the first NUL is one key, and the answer is what is stored: nothing if that does not exist, and with a
// NUL before it if it is empty or begins with one.
type Fetch struct {
	storage string
	decode  bool // how is '1'
	bare    bool // how is '2'
	items   []Item
	plain   []bool // the items whose values PHP can read where they stand
}

// ParseRaw implements rpc.RawMessage.
func (f *Fetch) ParseRaw(data []byte) error {
	how, rest, ok := byte(0), data, len(data) > 0
	if ok {
		how, rest = data[0], data[1:]
	}
	storage, keys, found := bytes.Cut(rest, []byte{0})
	if !ok || !found || how < '0' || how > '2' {
		return errFetch
	}
	f.decode, f.bare = how == '1', how == '2'
	if string(storage) != f.storage {
		f.storage = string(storage)
	}
	if !f.bare && bytes.Count(keys, []byte{0}) >= maxItems {
		return errTooManyItems
	}
	all := string(keys) // one copy for all keys
	if f.bare {
		f.items = append(f.items, Item{Key: all})
		return nil
	}
	for more := true; more; {
		var key string
		key, all, more = strings.Cut(all, "\x00")
		f.items = append(f.items, Item{Key: key})
	}
	return nil
}

// fetch fills in the items. The request is its own answer.
func (s *Service) fetch(ctx context.Context, f *Fetch) error {
	front, err := s.store(operations["MGet"], f.storage)
	if err != nil {
		return err
	}
	for i := range f.items {
		if strings.TrimSpace(f.items[i].Key) == "" {
			return errEmptyKey
		}
	}
	if err := front.Get(ctx, f.items); err != nil {
		return err
	}
	size := 0
	for i := range f.items {
		if f.items[i].Found {
			size += len(f.items[i].Value)
		}
	}
	if size > maxAnswer && len(f.items) > 1 {
		return errAnswerSize
	}
	return nil
}

// AppendRaw implements rpc.RawMessage.
func (f *Fetch) AppendRaw(dst []byte) []byte {
	if f.bare {
		return appendBare(dst, f.items[0].Value, f.items[0].Found)
	}
	f.plain = slices.Grow(f.plain[:0], len(f.items))[:len(f.items)]
	room, values, texts := 64, 0, 0
	for i := range f.items {
		it := &f.items[i]
		f.plain[i] = f.decode && it.Found && isPlainPHP(it.Value)
		if !it.Found {
			continue
		}
		if room += len(it.Key) + len(it.Value) + 2*phpTextRoom; f.plain[i] {
			values++
		} else {
			texts++
		}
	}
	dst = slices.Grow(dst, room)
	dst = append(dst, `a:2:{i:0;`...)
	dst = appendPHPArray(dst, values)
	for i := range f.items {
		if f.plain[i] {
			dst = append(appendPHPText(dst, f.items[i].Key), f.items[i].Value...)
		}
	}
	dst = appendPHPArray(append(dst, `}i:1;`...), texts)
	for i := range f.items {
		if f.items[i].Found && !f.plain[i] {
			dst = appendPHPText(appendPHPText(dst, f.items[i].Key), f.items[i].Value)
		}
	}
	return append(dst, `}}`...)
}

func appendBare(dst, value []byte, found bool) []byte {
	if found && (len(value) == 0 || value[0] == 0) {
		dst = append(dst, 0)
	}
	return append(dst, value...)
}

// Shortcut answers what asks for one key, if that is in memory and nothing is wrong; see rpc.Shortcut.
func (s *Service) Shortcut(method string) func(dst, arg []byte) ([]byte, bool) {
	if method != methodFetch {
		return nil
	}
	return s.fetchBare
}

func (s *Service) fetchBare(dst, arg []byte) ([]byte, bool) {
	if len(arg) == 0 || arg[0] != '2' {
		return dst, false
	}
	storage, key, _ := bytes.Cut(arg[1:], []byte{0})
	front := s.stores[string(storage)]
	if front == nil || isBlank(key) {
		return dst, false
	}
	value, found, ok := front.peek(unsafe.String(unsafe.SliceData(key), len(key))) // it does not keep it
	if !ok {
		return dst, false
	}
	return appendBare(dst, value, found), true
}

// isBlank reports whether a key may have nothing but spaces in it, which the usual way knows for sure.
func isBlank(key []byte) bool { return len(key) == 0 || key[0] <= ' ' || key[0] >= utf8.RuneSelf }

// reset makes the request ready for the next one, keeping its room.
func (f *Fetch) reset(storage string) {
	clear(f.items)
	*f = Fetch{storage: storage, items: f.items[:0], plain: f.plain[:0]}
}

// phpTextRoom is what a text needs beside its bytes, at most: s:, a length, :"";
const phpTextRoom = 16

func appendPHPArray(dst []byte, elements int) []byte {
	dst = strconv.AppendInt(append(dst, `a:`...), int64(elements), 10)
	return append(dst, `:{`...)
}

func appendPHPText[T string | []byte](dst []byte, s T) []byte {
	dst = strconv.AppendInt(append(dst, `s:`...), int64(len(s)), 10)
	dst = append(append(dst, `:"`...), s...)
	return append(dst, `";`...)
}
