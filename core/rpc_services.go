package core

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/lock"
	"github.com/edge-server/edge/rpc"
)

// LockConfig says where the locks of lock.* are.
type LockConfig struct {
	// Store names a store of the kv section whose driver can update and count in one step, such as redis: all servers that use it
	// see the same locks. Empty: locks are in the memory of this server. Default none.
	Store string `koanf:"store"`
}

// appLogger is the service app: PHP writes to the log of the server.
func (e *Edge) appLogger() rpc.Methods {
	log, out := e.channel("app"), e.opts.LogOutput
	methods := rpc.Methods{
		"Log": rpc.Func(func(_ context.Context, text string) (bool, error) {
			_, err := io.WriteString(out, text) // as it is, without a line feed
			return err == nil, err
		}),
		"LogWithContext": rpc.Func(func(_ context.Context, l logEntry) (*logResponse, error) {
			_, err := io.WriteString(out, l.text())
			return &logResponse{}, err
		}),
	}
	for name, level := range map[string]slog.Level{
		"Error": slog.LevelError, "Warning": slog.LevelWarn, "Info": slog.LevelInfo, "Debug": slog.LevelDebug,
	} {
		methods[name] = rpc.Func(func(ctx context.Context, text string) (bool, error) {
			log.Log(ctx, level, text)
			return true, nil
		})
		methods[name+"WithContext"] = rpc.Func(func(ctx context.Context, l logEntry) (*logResponse, error) {
			log.LogAttrs(ctx, level, l.Message, l.attrs()...)
			return &logResponse{}, nil
		})
	}
	return methods
}

func (l *logEntry) attrs() []slog.Attr {
	attrs := make([]slog.Attr, len(l.LogAttrs))
	for i, a := range l.LogAttrs {
		attrs[i] = slog.String(a.Key, a.Value)
	}
	return attrs
}

// text is the entry for app.LogWithContext: message key:value,key:value.
func (l *logEntry) text() string {
	pairs := make([]string, len(l.LogAttrs))
	for i, a := range l.LogAttrs {
		pairs[i] = a.Key + ":" + a.Value
	}
	return strings.TrimSuffix(l.Message+" "+strings.Join(pairs, ","), " ")
}

// statusService says whether a plugin lives, and whether it takes requests. A pool whose workers are all busy takes them.
func (e *Edge) statusService() rpc.Methods {
	method := func(ready bool) rpc.Method {
		return rpc.Func(func(_ context.Context, r statusRequest) (*statusResponse, error) {
			return e.pluginStatus(r.Plugin, ready)
		})
	}
	return rpc.Methods{"Status": method(false), "Ready": method(true)}
}

func (e *Edge) pluginStatus(name string, ready bool) (*statusResponse, error) {
	pools := e.poolsNamed(name)
	if len(pools) == 0 && !slices.Contains([]string{"rpc", "http", "kv", "lock", "metrics"}, name) {
		return nil, fmt.Errorf("no such plugin: %s", name)
	}
	unavailable := http.StatusServiceUnavailable
	if c := e.Config().Telemetry.Health; c != nil {
		unavailable = c.UnavailableStatus
	}
	var problem string
	for _, pool := range pools {
		problem = cmp.Or(problem, e.poolProblem(pool))
	}
	switch {
	case problem != "":
	case ready && e.life.Err() != nil:
		problem = shuttingDown
	case ready && !e.ready.Load():
		problem = "the server is starting"
	default:
		return &statusResponse{Code: http.StatusOK}, nil
	}
	return &statusResponse{Code: int64(unavailable), Message: problem}, nil
}

// newLocks is the service lock, and the function that ends it.
func (e *Edge) newLocks(cfg *Config) (rpc.Handler, func(context.Context) error, error) {
	if cfg.Lock.Store == "" {
		locks := lock.NewMemory()
		return untilGone{lock.NewService(locks)}, func(context.Context) error { locks.Close(); return nil }, nil
	}
	locks, err := lock.NewShared(e.stores[cfg.Lock.Store])
	if err != nil {
		return nil, nil, cfg.located(fmt.Errorf("lock.store: %s: %w", cfg.Lock.Store, err))
	}
	return untilGone{lock.NewService(locks)}, startNothing, nil
}

// kvHandler is the service kv, whose few methods that wait end with their client: what they wait for goes to the next.
type kvHandler struct {
	rpc.Handler
	rpc.Releaser
	quick rpc.Quick
	short rpc.Shortcut
}

func newKVHandler(s *kv.Service) *kvHandler {
	return &kvHandler{Handler: s, Releaser: s, quick: s, short: s}
}

// Quick implements rpc.Quick.
func (h *kvHandler) Quick(method string, request any) bool { return h.quick.Quick(method, request) }

// Shortcut implements rpc.Shortcut.
func (h *kvHandler) Shortcut(method string) func(dst, arg []byte) ([]byte, bool) {
	return h.short.Shortcut(method)
}

func (h *kvHandler) Call(ctx context.Context, method string, request any) (any, error) {
	if method != "GetOrCompute" && method != "Lock" {
		return h.Handler.Call(ctx, method, request)
	}
	ctx, cancel := rpc.UntilGone(ctx)
	defer cancel()
	return h.Handler.Call(ctx, method, request)
}

// untilGone ends calls that wait when their client has gone.
type untilGone struct{ rpc.Handler }

func (h untilGone) Call(ctx context.Context, method string, request any) (any, error) {
	ctx, cancel := rpc.UntilGone(ctx)
	defer cancel()
	return h.Handler.Call(ctx, method, request)
}
