package boltdb

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/kvtest"
)

func TestMain(m *testing.M) {
	if runHelper() {
		return
	}
	testenv.Main(m)
}

var modes = []string{kv.SyncAlways, kv.SyncInterval, kv.SyncNever}

// config is a store's in a file of its own.
func config(t testing.TB, sync string) kv.BoltConfig {
	cfg := kv.DefaultBoltConfig()
	cfg.File, cfg.Sync = filepath.Join(testenv.Dir(t), "kv.db"), sync
	return cfg
}

func quiet() *Files { return NewFiles(slog.New(slog.DiscardHandler)) }

// open opens a store that ends with the test.
func open(t testing.TB, files *Files, name string, cfg kv.BoltConfig) *Store {
	t.Helper()
	s, err := Open(t.Context(), files, name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestStore(t *testing.T) {
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			kvtest.Run(t, func(t *testing.T) kv.Store {
				cfg := config(t, sync)
				cfg.SweepInterval = 5 * time.Millisecond
				s, err := Open(t.Context(), quiet(), "a", cfg)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func set1(t testing.TB, s kv.Store, key, value string, expires time.Time) {
	t.Helper()
	if err := s.Set(context.Background(), []kv.Item{{Key: key, Value: []byte(value), Expires: expires}}); err != nil {
		t.Fatal(err)
	}
}

func get1(t testing.TB, s kv.Store, key string) (string, bool) {
	t.Helper()
	items := []kv.Item{{Key: key}}
	if err := s.Get(context.Background(), items); err != nil {
		t.Fatal(err)
	}
	return string(items[0].Value), items[0].Found
}

func want(t testing.TB, s kv.Store, key, value string) {
	t.Helper()
	if got, found := get1(t, s, key); !found || got != value {
		t.Errorf("%s holds %q, %v; want %q", key, got, found, value)
	}
}

func wantGone(t testing.TB, s kv.Store, key string) {
	t.Helper()
	if got, found := get1(t, s, key); found {
		t.Errorf("%s holds %q, want nothing", key, got)
	}
}

func TestDataAndDeadlinesSurviveARestart(t *testing.T) {
	t.Parallel()
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, sync)
			end := time.Now().Add(time.Hour).Truncate(time.Millisecond)
			s := open(t, quiet(), "a", cfg)
			set1(t, s, "stays", "1", time.Time{})
			set1(t, s, "ends late", "2", end)
			soon := time.Now().Add(300 * time.Millisecond)
			set1(t, s, "ends soon", "3", soon)
			shut(t, s)

			s = open(t, quiet(), "a", cfg)
			want(t, s, "stays", "1")
			want(t, s, "ends late", "2")
			items := []kv.Item{{Key: "ends late"}, {Key: "stays"}}
			if err := s.TTL(t.Context(), items); err != nil || !items[0].Expires.Equal(end) || !items[1].Expires.IsZero() {
				t.Errorf("deadlines after the restart: %v, %v, %v; want %v and none", items[0].Expires, items[1].Expires, err, end)
			}
			testenv.Eventually(t, "the key ends and is swept", func() bool {
				_, found := get1(t, s, "ends soon")
				return !found && s.Stats().Keys == 2 && s.Stats().Expired == 1
			})
			if time.Now().Before(soon) {
				t.Error("the key ended before its deadline")
			}
		})
	}
}

func TestSweepGivesRoomBack(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncNever)
	cfg.SweepInterval = 10 * time.Millisecond
	s := open(t, quiet(), "a", cfg)
	end := time.Now().Add(500 * time.Millisecond)
	const keys = 5000
	items := make([]kv.Item, keys)
	for i := range items {
		items[i] = kv.Item{Key: fmt.Sprint("k", i), Value: []byte("v"), Expires: end}
	}
	if err := s.Set(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	set1(t, s, "k7", "later", time.Now().Add(time.Hour)) // its first entry in the index is over
	set1(t, s, "k8", "for ever", time.Time{})
	testenv.Eventually(t, "all that has ended is removed", func() bool { return s.Stats().Keys == 2 })
	want(t, s, "k7", "later")
	want(t, s, "k8", "for ever")
	if st := s.Stats(); st.Expired != keys-2 {
		t.Errorf("%d keys were swept, want %d", st.Expired, keys-2)
	}
	if err := s.file.view(func(tx *bolt.Tx) error {
		if n := tx.Bucket(s.index).Stats().KeyN; n != 1 {
			t.Errorf("the index has %d entries, want 1", n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestStoresShareAFile(t *testing.T) {
	t.Parallel()
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			files, cfg := quiet(), config(t, sync)
			a := open(t, files, "a", cfg)
			link := filepath.Join(filepath.Dir(cfg.File), "link.db") // another name for the same file
			if err := os.Symlink(cfg.File, link); err != nil {
				t.Fatal(err)
			}
			other := cfg
			other.File = link
			b := open(t, files, "b", other)
			set1(t, a, "k", "of a", time.Time{})
			set1(t, b, "k", "of b", time.Time{})
			if err := a.Clear(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantGone(t, a, "k")
			want(t, b, "k", "of b")

			if _, err := Open(t.Context(), files, "c", with(cfg, func(c *kv.BoltConfig) { c.Bucket = "a" })); err == nil ||
				!strings.Contains(err.Error(), `store "a" has bucket a`) {
				t.Errorf("two stores in one bucket: %v", err)
			}
			if _, err := Open(t.Context(), files, "c", with(cfg, func(c *kv.BoltConfig) { c.LockTimeout = time.Minute })); err == nil ||
				!strings.Contains(err.Error(), "boltdb.lock_timeout is 5s there and 1m0s here") {
				t.Errorf("other settings for the same file: %v", err)
			}
			shut(t, a)
			set1(t, b, "k", "still open", time.Time{})
			shut(t, b)
			want(t, open(t, files, "b", cfg), "k", "still open")
		})
	}
}

func with(cfg kv.BoltConfig, edit func(*kv.BoltConfig)) kv.BoltConfig {
	edit(&cfg)
	return cfg
}

func TestALockedFileSaysSo(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncAlways)
	open(t, quiet(), "a", cfg)
	cfg.LockTimeout = 100 * time.Millisecond
	_, err := Open(t.Context(), quiet(), "a", cfg)
	if err == nil || !strings.Contains(err.Error(), cfg.File) || !strings.Contains(err.Error(), "locked by another process") ||
		!strings.Contains(err.Error(), "stop the other one") {
		t.Errorf("a file that is open elsewhere: %v", err)
	}
}

func TestProblemsWithFiles(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	cfg := config(t, kv.SyncAlways)
	for name, tt := range map[string]struct {
		make func(path string) error
		want string
	}{
		"no database":  {func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("x"), 1<<16), 0o600) }, "is no boltdb file"},
		"a folder":     {func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file"},
		"cut off":      {func(p string) error { return cutOff(t, p) }, "is cut off"},
		"no such dir/": {func(string) error { return nil }, "the folder of boltdb.file"},
	} {
		cfg.File = filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			cfg.File = filepath.Join(dir, name, "kv.db")
		}
		if err := tt.make(cfg.File); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), quiet(), "a", cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), cfg.File) {
			t.Errorf("%s: %v, want %q and the path", name, err, tt.want)
		}
	}
}

// cutOff makes a file whose second half is missing.
func cutOff(t *testing.T, path string) error {
	cfg := config(t, kv.SyncNever)
	s := open(t, quiet(), "a", cfg)
	for i := range 100 {
		set1(t, s, fmt.Sprint(i), strings.Repeat("x", 2000), time.Time{})
	}
	shut(t, s)
	data, err := os.ReadFile(cfg.File)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data[:len(data)/4], 0o600)
}

func TestDamagedPagesAreErrors(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncNever)
	s := open(t, quiet(), "a", cfg)
	for i := range 500 {
		set1(t, s, fmt.Sprint("key", i), strings.Repeat("x", 500), time.Time{})
	}
	shut(t, s)
	f, err := os.OpenFile(cfg.File, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := f.Stat()
	for at := int64(4 * 4096); at < info.Size(); at += 4096 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xFF}, 200), at); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	s, err = Open(t.Context(), quiet(), "a", cfg)
	if err == nil {
		err = s.Get(t.Context(), []kv.Item{{Key: "key1"}})
		s.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("pages of nonsense: %v", err)
	}
}

func TestDamagedValuesNameTheirPlace(t *testing.T) {
	t.Parallel()
	for _, sync := range modes {
		cfg := config(t, sync)
		s := open(t, quiet(), "a", cfg)
		set1(t, s, "good", "1", time.Time{})
		set1(t, s, "bad", "2", time.Now().Add(time.Hour))
		shut(t, s)
		raw(t, cfg.File, "a", "bad", func(data []byte) []byte {
			data[len(data)-1] ^= 1
			return data
		})
		s = open(t, quiet(), "a", cfg)
		err := s.Get(t.Context(), []kv.Item{{Key: "good"}, {Key: "bad"}})
		if err == nil || !strings.Contains(err.Error(), `key "bad" in bucket a of `+cfg.File) {
			t.Errorf("%s: a damaged value: %v", sync, err)
		}
		if _, err := s.Increment(t.Context(), "bad", 1, time.Time{}); err == nil || !strings.Contains(err.Error(), `key "bad"`) {
			t.Errorf("%s: increment of a damaged value: %v", sync, err)
		}
		want(t, s, "good", "1")
		items := []kv.Item{{Key: "bad"}}
		if err := s.Delete(t.Context(), items); err != nil || !items[0].Found {
			t.Errorf("%s: delete of a damaged value: %v, found %v", sync, err, items[0].Found)
		}
		wantGone(t, s, "bad")
	}
}

// raw changes what stands in a file that nobody has open.
func raw(t testing.TB, path, bucket, key string, edit func([]byte) []byte) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), edit(bytes.Clone(b.Get([]byte(key)))))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// roadRunner writes a value as RoadRunner's driver does.
func roadRunner(t testing.TB, path, key string, value any) {
	t.Helper()
	raw(t, path, "default", key, func([]byte) []byte {
		var buf bytes.Buffer
		if err := gob.NewEncoder(&buf).Encode(value); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	})
}

func TestRoadRunnersFileIsRead(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncAlways)
	big := strings.Repeat("0123456789", 20_000)
	for key, value := range map[string]string{"empty": "", "short": "i:5;", "long": strings.Repeat("x", 130), "big": big} {
		roadRunner(t, cfg.File, key, []byte(value))
	}
	roadRunner(t, cfg.File, "text", "as old ones wrote it")
	var log testenv.Log
	files := NewFiles(slog.New(slog.NewTextHandler(&log, nil)))

	elsewhere := open(t, files, "sessions", cfg)
	shut(t, elsewhere)
	if !strings.Contains(log.String(), "boltdb.bucket: default") {
		t.Errorf("another bucket beside RoadRunner's: the log does not say how to read it:\n%s", log.String())
	}

	cfg.Bucket = "default"
	s := open(t, files, "sessions", cfg)
	want(t, s, "empty", "")
	want(t, s, "short", "i:5;")
	want(t, s, "long", strings.Repeat("x", 130))
	want(t, s, "big", big)
	want(t, s, "text", "as old ones wrote it")
	if st := s.Stats(); st.Keys != 5 {
		t.Errorf("%d keys were counted, want 5", st.Keys)
	}
	if err := s.Expire(t.Context(), []kv.Item{{Key: "short", Expires: time.Now().Add(time.Hour)}}); err != nil {
		t.Error(err)
	}
	want(t, s, "short", "i:5;")
	shut(t, s)
	shut(t, open(t, files, "sessions", cfg))
	if got := log.String(); strings.Count(got, "RoadRunner wrote this boltdb file") != 1 || !strings.Contains(got, "values=5") {
		t.Errorf("the log should say once that RoadRunner wrote 5 values:\n%s", got)
	}
}

func TestAFullFileRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, sync)
			cfg.MaxFileSize = 4 * bytesize.MiB
			s := open(t, quiet(), "a", cfg)
			value := strings.Repeat("v", 10_000)
			stored := 0
			var err error
			for ; err == nil && stored < 1000; stored++ {
				err = s.Set(t.Context(), []kv.Item{{Key: fmt.Sprint("k", stored), Value: []byte(value)}})
				if stored%20 == 0 && sync == kv.SyncInterval { // several commits
					if err := s.flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !errors.Is(err, kv.ErrFull) || !strings.Contains(err.Error(), "boltdb.max_file_size 4MiB") {
				t.Fatalf("after %d values of 10 kB: %v, want it full", stored, err)
			}
			if stored < 100 {
				t.Errorf("full after %d values of 10 kB in 4 MiB", stored)
			}
			want(t, s, "k0", value)
			for i := range stored {
				if err := s.Delete(t.Context(), []kv.Item{{Key: fmt.Sprint("k", i)}}); err != nil {
					t.Fatalf("delete in a full file: %v", err)
				}
			}
			// A commit that failed in between refuses values until one has room again.
			if err := s.flush(t.Context()); err != nil {
				t.Error(err)
			}
			set1(t, s, "again", value, time.Time{})
			if err := s.flush(t.Context()); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(cfg.File); err != nil || info.Size() > int64(cfg.MaxFileSize) {
				t.Errorf("the file has %d bytes, %v; want at most %d", info.Size(), err, cfg.MaxFileSize)
			}
			if st := s.Stats(); st.Refused == 0 || st.Keys != 1 {
				t.Errorf("stats %+v, want 1 key and something refused", st)
			}
		})
	}
}

func TestCompactWhileServing(t *testing.T) {
	t.Parallel()
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			files, cfg := quiet(), config(t, sync)
			s, other := open(t, files, "a", cfg), open(t, files, "b", cfg)
			for i := range 400 {
				set1(t, s, fmt.Sprint("k", i), strings.Repeat("v", 5000), time.Time{})
			}
			for i := range 390 {
				if err := s.Delete(t.Context(), []kv.Item{{Key: fmt.Sprint("k", i)}}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			var wg sync2
			written := wg.hammer(ctx, t, s, other)
			var last Compaction
			for range 5 {
				result, err := s.Compact(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if last = result; result.After > result.Before && result.Before > 1<<20 {
					t.Errorf("compaction grew the file: %+v", result)
				}
			}
			stop()
			wg.Wait()
			shut(t, s)
			shut(t, other)
			if last.After > 1<<20 {
				t.Errorf("10 values of 5 kB in a file of %d bytes", last.After)
			}
			s, other = open(t, files, "a", cfg), open(t, files, "b", cfg)
			for i := 390; i < 400; i++ {
				want(t, s, fmt.Sprint("k", i), strings.Repeat("v", 5000))
			}
			for key, value := range written {
				want(t, other, key, value)
			}
			if n := other.Stats().Keys; n != int64(len(written)) {
				t.Errorf("b counts %d keys, want %d", n, len(written))
			}
		})
	}
}

// sync2 runs writers and readers beside a test.
type sync2 struct{ sync.WaitGroup }

// hammer writes to one store and reads from another until ctx ends. What it returns may be read after Wait.
func (wg *sync2) hammer(ctx context.Context, t *testing.T, read, write kv.Store) map[string]string {
	written := map[string]string{}
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			key, value := fmt.Sprint("w", i%50), fmt.Sprint(i)
			if err := write.Set(context.Background(), []kv.Item{{Key: key, Value: []byte(value)}}); err != nil {
				t.Errorf("a write during a compaction: %v", err)
				return
			}
			written[key] = value
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			items := []kv.Item{{Key: "k395"}}
			if err := read.Get(context.Background(), items); err != nil || !items[0].Found {
				t.Errorf("a read during a compaction: %v, found %v", err, items[0].Found)
				return
			}
		}
	})
	return written
}

func TestCompactOffline(t *testing.T) {
	t.Parallel()
	cfg := config(t, kv.SyncAlways)
	s := open(t, quiet(), "a", cfg)
	set1(t, s, "big", strings.Repeat("x", 3<<20), time.Time{})
	set1(t, s, "small", "1", time.Time{})
	if err := s.Delete(t.Context(), []kv.Item{{Key: "big"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := CompactFile(with(cfg, func(c *kv.BoltConfig) { c.LockTimeout = 100 * time.Millisecond })); err == nil ||
		!strings.Contains(err.Error(), "locked by another process") {
		t.Errorf("offline compaction of an open file: %v", err)
	}
	shut(t, s)
	result, err := CompactFile(cfg)
	if err != nil || result.Before < 3<<20 || result.After > 1<<17 {
		t.Errorf("compaction: %+v, %v", result, err)
	}
	want(t, open(t, quiet(), "a", cfg), "small", "1")
	if _, err := CompactFile(with(cfg, func(c *kv.BoltConfig) { c.File += ".not" })); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("compaction of nothing: %v", err)
	}
}

func TestScanSeesPrefixes(t *testing.T) {
	t.Parallel()
	s := open(t, quiet(), "a", config(t, kv.SyncInterval))
	for i := range 25 {
		set1(t, s, fmt.Sprintf("user:%02d", i), "v", time.Time{})
	}
	set1(t, s, "user", "v", time.Time{})
	set1(t, s, "userz", "v", time.Time{})
	set1(t, s, "user:99", "v", time.Now().Add(time.Millisecond))
	testenv.Eventually(t, "user:99 ends", func() bool {
		_, found := get1(t, s, "user:99")
		return !found
	})
	var all []string
	for cursor, pages := "", 0; ; pages++ {
		keys, next, err := s.Scan(t.Context(), "user:", cursor, 7)
		if err != nil || pages > 10 {
			t.Fatal(err, pages)
		}
		all = append(all, keys...)
		if cursor = next; next == "" {
			break
		}
	}
	if len(all) != 25 || all[0] != "user:00" || all[24] != "user:24" {
		t.Errorf("scan found %q", all)
	}
}

// TestAPanicHurtsNobodyElse: an update that panics is an error for its caller, in the middle of a batch.
func TestAPanicHurtsNobodyElse(t *testing.T) {
	t.Parallel()
	s := open(t, quiet(), "a", config(t, kv.SyncAlways))
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			err := s.Update(t.Context(), fmt.Sprint("k", i), func(kv.Item) (kv.Item, error) {
				if i%10 == 0 {
					panic("no")
				}
				return kv.Item{Value: []byte("v"), Found: true}, nil
			})
			if (err != nil) != (i%10 == 0) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := s.Stats().Keys; n != 45 {
		t.Errorf("%d keys, want 45", n)
	}
}

func TestAWriterThatGivesUpLeavesTheQueue(t *testing.T) {
	t.Parallel()
	s := open(t, quiet(), "a", config(t, kv.SyncAlways))
	blocked, unblock := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Update(t.Context(), "slow", func(kv.Item) (kv.Item, error) {
			close(blocked)
			<-unblock
			return kv.Item{}, errors.New("nothing")
		})
	})
	<-blocked
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := s.Set(ctx, []kv.Item{{Key: "k", Value: []byte("v")}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write that waits behind another: %v", err)
	}
	close(unblock)
	wg.Wait()
	wantGone(t, s, "k")
}

// TestAFullFileTakesADeleteOfMany: a delete makes room, however many keys it has, so it must not need more than there is.
func TestAFullFileTakesADeleteOfMany(t *testing.T) {
	t.Parallel()
	for _, sync := range modes {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, sync)
			cfg.MaxFileSize = 8 * bytesize.MiB
			s := open(t, quiet(), "a", cfg)
			value := strings.Repeat("v", 300)
			stored, full := 0, false
			for !full && stored < 100_000 {
				items := make([]kv.Item, 100)
				for i := range items { // spread over all pages
					items[i] = kv.Item{Key: fmt.Sprintf("%032x", uint64(stored+i)*0x9e3779b97f4a7c15), Value: []byte(value), Expires: time.Now().Add(time.Hour)}
				}
				err := s.Set(t.Context(), items)
				if full = errors.Is(err, kv.ErrFull); err != nil && !full {
					t.Fatal(err)
				}
				stored += len(items)
				if err := s.flush(t.Context()); err != nil && !errors.Is(err, kv.ErrFull) {
					t.Fatal(err)
				}
			}
			before := s.Stats().Keys
			items := make([]kv.Item, stored/4) // some of every page
			for i := range items {
				items[i].Key = fmt.Sprintf("%032x", uint64(4*i)*0x9e3779b97f4a7c15)
			}
			if err := s.Delete(t.Context(), items); err != nil {
				t.Fatalf("a delete of %d keys in a full file: %v", len(items), err)
			}
			if err := s.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			found := int64(0)
			for i := range items {
				if items[i].Found {
					found++
				}
			}
			if keys := s.Stats().Keys; found < before/5 || keys != before-found {
				t.Errorf("of %d keys, %d are left, and %d were found by the delete", before, keys, found)
			}
			set1(t, s, "again", value, time.Time{})
		})
	}
}
