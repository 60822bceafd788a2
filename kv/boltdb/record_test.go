package boltdb

import (
	"bytes"
	"encoding/gob"
	"math"
	"strings"
	"testing"

	"github.com/edge-server/edge/kv"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "v", strings.Repeat("long", 1000)} {
		for _, expires := range []int64{0, 1, math.MaxInt64} {
			data := encode("key", []byte(value), expires)
			r, err := parse("key", data)
			if err != nil || string(r.value) != value || r.expires != expires || r.foreign {
				t.Errorf("record of %.10q until %d: %+v, %v", value, expires, r, err)
			}
			if _, err := parse("another", data); err == nil {
				t.Error("a record under another key was taken")
			}
			for i := range min(len(data), 40) {
				damaged := bytes.Clone(data)
				damaged[i] ^= 0x10
				if _, err := parse("key", damaged); err == nil {
					t.Errorf("byte %d was changed, and nobody noticed", i)
				}
			}
			for n := range min(len(data), 40) {
				if _, err := parse("key", data[:n]); err == nil {
					t.Errorf("cut off after %d bytes, and nobody noticed", n)
				}
			}
		}
	}
}

// FuzzRecord: whatever stands in a file, parse answers; what encoding/gob would read as RoadRunner does is read the same, and what
// was encoded comes back.
func FuzzRecord(f *testing.F) {
	f.Add("k", encode("k", []byte("value"), 0))
	f.Add("k", encode("k", nil, 1700000000000))
	for _, v := range []any{[]byte("a"), []byte{}, "text", bytes.Repeat([]byte("x"), 300), 5, map[string]int{"a": 1}} {
		var buf bytes.Buffer
		if err := gob.NewEncoder(&buf).Encode(v); err != nil {
			f.Fatal(err)
		}
		f.Add("k", buf.Bytes())
	}
	f.Add("k", []byte{0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 10, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		r, err := parse(key, data)
		if err == nil && r.foreign {
			var want []byte
			if data[0] == 0 {
				t.Fatalf("%x is no message of gob", data)
			}
			if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&want); err == nil && !bytes.Equal(want, r.value) {
				t.Errorf("%x: gob reads %x, parse %x", data, want, r.value)
			}
		}
		if err == nil && !r.foreign {
			if again := encode(key, r.value, r.expires); !bytes.Equal(again, data) {
				t.Errorf("%x was encoded again as %x", data, again)
			}
		}
		back, err := parse(key, encode(key, data, int64(len(key))))
		if err != nil || !bytes.Equal(back.value, data) || back.expires != int64(len(key)) {
			t.Errorf("%x came back as %x, %v", data, back.value, err)
		}
		if expires, name, ok := parseIndexKey(data); ok && !bytes.Equal(indexKey(expires, name), data) {
			t.Errorf("entry %x of the index came back otherwise", data)
		}
		newestMeta(data)
		parseCounts(data)
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(*kv.BoltConfig)
		want string
	}{
		"sync":        {func(c *kv.BoltConfig) { c.Sync = "sometimes" }, "boltdb.sync: must be one of always, interval, never"},
		"interval":    {func(c *kv.BoltConfig) { c.SyncInterval = 0 }, "boltdb.sync_interval: "},
		"sweep":       {func(c *kv.BoltConfig) { c.SweepInterval = 0 }, "boltdb.sweep_interval: "},
		"size":        {func(c *kv.BoltConfig) { c.MaxFileSize = 1 << 20 }, "boltdb.max_file_size: "},
		"timeout":     {func(c *kv.BoltConfig) { c.LockTimeout = 0 }, "boltdb.lock_timeout: "},
		"bucket":      {func(c *kv.BoltConfig) { c.Bucket = storesBucket }, "boltdb.bucket: "},
		"permissions": {func(c *kv.BoltConfig) { c.Permissions = "rw" }, "boltdb.permissions: "},
		"read-only":   {func(c *kv.BoltConfig) { c.Permissions = "0444" }, "boltdb.permissions: "},
	} {
		cfg := kv.DefaultConfig()
		cfg.Driver = "boltdb"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		tt.edit(&cfg.BoltDB)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
