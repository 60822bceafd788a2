package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/kv"
)

// What the clients in Go read, and what they must get.
const kvKey = "bench:key"

var kvValue = []byte(strings.Repeat("v", 256))

// errKVAnswer means that a store answered something else than what was stored.
var errKVAnswer = errors.New("what comes out is not what went in")

// goClients runs the callers until duration is over.
func (l kvLoad) goClients(ctx context.Context, store kvStore, socket string, duration time.Duration) (kvRun, error) {
	getters := make([]getter, l.callers)
	for i := range getters {
		get, err := store.get(socket)
		if err != nil {
			return kvRun{}, err
		}
		getters[i] = get
	}
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var keys atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, len(getters))
	begin := time.Now()
	for i, get := range getters {
		wg.Go(func() { // ends with ctx
			n := int64(0)
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = get()
				n++
			}
			keys.Add(n)
		})
	}
	wg.Wait()
	// The clients are part of this process, so their CPU is not known apart.
	return kvRun{Keys: float64(keys.Load()), Seconds: time.Since(begin).Seconds(), CPU: nan}, errors.Join(errs...)
}

// edgeGetter speaks to the RPC server as PHP does: protobuf in frames.
func edgeGetter(socket string) (getter, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	frames := frame.NewReader(conn, 1<<20)
	call := func(method string, item kv.Message) ([]byte, error) {
		request := kv.Request{Storage: "main", Items: kv.Messages{item}}
		if _, err := conn.Write(kvCall(method, &request)); err != nil {
			return nil, err
		}
		h, payload, err := frames.Next()
		if err == nil && h.Is(frame.FlagError) {
			err = fmt.Errorf("%s: %s", method, payload)
		}
		return payload, err
	}
	if _, err := call("kv.Set", kv.Message{Key: kvKey, Value: kvValue}); err != nil {
		return nil, err
	}
	request := kvCall("kv.MGet", &kv.Request{Storage: "main", Items: kv.Messages{{Key: kvKey}}})
	return func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		_, payload, err := frames.Next()
		if err == nil && len(payload) < len(kvValue) {
			err = errKVAnswer
		}
		return err
	}, nil
}

func kvCall(method string, request *kv.Request) []byte {
	payload := request.AppendProto([]byte(method))
	return frame.AppendFrame(nil, frame.FlagProto, 0, payload, 1, uint32(len(method)))
}

func redisGetter(socket string) (getter, error) {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, PoolSize: 1})
	if err := client.Set(context.Background(), kvKey, kvValue, 0).Err(); err != nil {
		return nil, err
	}
	return func() error {
		got, err := client.Get(context.Background(), kvKey).Bytes()
		if err == nil && len(got) != len(kvValue) {
			err = errKVAnswer
		}
		return err
	}, nil
}

func memcachedGetter(socket string) (getter, error) {
	client := memcache.New(socket)
	client.Timeout = 5 * time.Second
	client.MaxIdleConns = 1
	if err := client.Set(&memcache.Item{Key: kvKey, Value: kvValue}); err != nil {
		return nil, err
	}
	return func() error {
		item, err := client.Get(kvKey)
		if err == nil && len(item.Value) != len(kvValue) {
			err = errKVAnswer
		}
		return err
	}, nil
}
