package boltdb

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

const (
	benchClients = 64
	benchValue   = 256
)

// BenchmarkSet64 is sets of 256 bytes by 64 clients, on the disk when they are acknowledged, beside one transaction for each set.
func BenchmarkSet64(b *testing.B) {
	value := []byte(strings.Repeat("v", benchValue))
	b.Run("naive", func(b *testing.B) {
		db, err := bolt.Open(filepath.Join(testenv.Dir(b), "naive.db"), 0o600, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("a")); return err }); err != nil {
			b.Fatal(err)
		}
		clients(b, func(key string) error {
			return db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("a")).Put([]byte(key), value) })
		})
	})
	for _, sync := range modes {
		b.Run(sync, func(b *testing.B) {
			s := open(b, quiet(), "a", config(b, sync))
			clients(b, func(key string) error {
				return s.Set(context.Background(), []kv.Item{{Key: key, Value: value}})
			})
		})
	}
}

// clients divides b.N sets over many goroutines.
func clients(b *testing.B, set func(key string) error) {
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range benchClients {
		wg.Go(func() {
			for i := c; i < b.N; i += benchClients {
				if err := set(fmt.Sprint("key:", i%10_000)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sets/s")
}

// BenchmarkGet is one client.
func BenchmarkGet(b *testing.B) {
	s := open(b, quiet(), "a", config(b, kv.SyncNever))
	set1(b, s, "k", strings.Repeat("v", benchValue), time.Time{})
	items := []kv.Item{{Key: "k"}}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Get(context.Background(), items); err != nil {
			b.Fatal(err)
		}
	}
}
