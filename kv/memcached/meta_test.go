package memcached

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   string
		want reply
		err  error
	}{
		{"HD\r\n", reply{code: "HD"}, nil},
		{"HD t99 c18446744073709551615\r\n", reply{code: "HD", ttl: 99, cas: 1<<64 - 1}, nil},
		{"HD t-1 f5 s3 Oabc\r\n", reply{code: "HD", ttl: -1}, nil},
		{"VA 5 t7 c3\r\nhe\r\no\r\n", reply{code: "VA", value: []byte("he\r\no"), ttl: 7, cas: 3}, nil},
		{"VA 0\r\n\r\n", reply{code: "VA", value: []byte{}}, nil},
		{"EN\r\n", reply{code: "EN"}, nil},
		{"NF O1\r\n", reply{code: "NF"}, nil},
		{"SERVER_ERROR out of memory storing object\r\n", reply{code: "SERVER_ERROR", text: "out of memory storing object"}, nil},
		{"ERROR\r\n", reply{code: "ERROR"}, nil},
		{"VALUE key 0 5\r\n", reply{}, errProtocol},
		{"VA -1\r\n", reply{}, errProtocol},
		{"VA 99999999999\r\n", reply{}, errProtocol},
		{"VA 101\r\n", reply{}, errProtocol}, // above maxValue
		{"VA 2\r\nabc\r\n", reply{}, errProtocol},
		{"HD tx\r\n", reply{}, errProtocol},
		{"\r\n", reply{}, errProtocol},
		{strings.Repeat("x", 5000), reply{}, errProtocol},
		{"HD", reply{}, io.ErrUnexpectedEOF},
		{"VA 5\r\nhel", reply{}, io.ErrUnexpectedEOF},
		{"VA 5\r\nhello", reply{}, io.ErrUnexpectedEOF},
		{"", reply{}, io.EOF},
	} {
		got, err := readReply(bufio.NewReaderSize(strings.NewReader(test.in), 1024), 100)
		if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
			t.Errorf("%.40q: error %v, want %v", test.in, err, test.err)
		}
		if err == nil && (got.code != test.want.code || got.text != test.want.text || got.ttl != test.want.ttl || got.cas != test.want.cas ||
			!bytes.Equal(got.value, test.want.value)) {
			t.Errorf("%.40q: %+v, want %+v", test.in, got, test.want)
		}
	}
}

// FuzzReadReply: whatever a server sends, the parser ends, keeps to its bound, and what it took for answers can be told apart from
// what follows.
func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{
		"HD t99 c7\r\nEN\r\n", "VA 5 t-1 c9\r\nhello\r\nHD\r\n", "SERVER_ERROR too large\r\n", "VA 3\r\n\r\n\r\r\n", "NS\r\nEX\r\nNF\r\n", "MN\r\n", "HD  \t\r\n", "VA  1\r\nx\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const maxValue = 1000
		r := bufio.NewReaderSize(bytes.NewReader(in), 256)
		for range len(in) + 1 {
			answer, err := readReply(r, maxValue)
			if err != nil {
				return
			}
			if len(answer.value) > maxValue || answer.code == "" || len(answer.text) > maxLine {
				t.Fatalf("%+v", answer)
			}
		}
		t.Fatalf("%d bytes made more answers than that", len(in))
	})
}

// TestKeys: what memcached takes stays as it is, everything else gets a name that it takes and no two share.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := &Store{}
	s.cfg.Prefix = "app:"
	keys := []string{
		"plain", "ключ", strings.Repeat("k", 246), strings.Repeat("k", 247), strings.Repeat("k", 5000), "", "a b", "a\x00b", "a\r\nb", "a\x7f",
		"sha256:abc", "sha256:" + strings.Repeat("A", 43),
	}
	seen := map[string]string{}
	for i, key := range keys {
		got := s.key(key)
		if len(got) > maxKey || !legal(got) || !strings.HasPrefix(got, "app:") {
			t.Errorf("key %.40q became %.60q", key, got)
		}
		if plain := i < 3; plain != (got == "app:"+key) {
			t.Errorf("key %.40q became %.60q", key, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%.40q and %.40q are both %.60q", key, other, got)
		}
		seen[got] = key
		if again := s.key(key); again != got {
			t.Errorf("key %.40q is %.60q and then %.60q", key, got, again)
		}
	}
	if hash := s.key("a b"); s.key(strings.TrimPrefix(hash, "app:")) == hash {
		t.Error("the name of a hashed key is that key's own, too")
	}
}
