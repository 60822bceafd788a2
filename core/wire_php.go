package core

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-server/edge/core/middleware"
	"github.com/edge-server/edge/php"
)

// newPool prepares a pool: workers inherit the environment of this process and learn where the server's RPC is.
func (e *Edge) newPool(name string, c php.Config, cfg *Config) (*php.Pool, error) {
	env := []string{"RR_VERSION=" + RoadRunnerVersion, "EDGE_VERSION=" + Version}
	if e.rpc != nil {
		env = append(env, "RR_RPC="+e.rpc.Addr(), "EDGE_RPC="+e.rpc.Addr())
	}
	if e.traces != nil {
		env = append(env, "EDGE_TRACES=1") // sdk/php sends the trace of its request with its calls
	}
	pool, err := php.New(name, c, php.Options{
		Traced:   e.traces != nil,
		Logger:   e.channel("server"),
		StateDir: cfg.StateDir,
		Env:      env,
	})
	if err != nil {
		return nil, fmt.Errorf("php.%s.%s", name, strings.TrimPrefix(err.Error(), fmt.Sprintf("php pool %q: ", name)))
	}
	return pool, nil
}

// phpTarget is the pool of a route, behind the files of the pool's root.
func (e *Edge) phpTarget(w *world, route *Route) (http.Handler, error) {
	h, cfg := e.poolStep(route.PHP, w.pools[route.PHP].Handler(route.key())), w.cfg.PHP[route.PHP]
	if cfg.Root == "" {
		return h, nil
	}
	files := middleware.StaticConfig{
		Root: cfg.Root, Forbid: cfg.Static.Forbid, Allow: cfg.Static.Allow, Links: linkTargets(cfg), As: w.pools[route.PHP].AsWorker,
	}
	if cfg.Mode == "classic" {
		files.Index = path.Base(cfg.Index)
	}
	h, err := middleware.NewStatic(files, h)
	return h, within("php", err)
}

// linkTargets are the folders that links of the root may lead into: without others the application's, such as for public/storage.
func linkTargets(c php.Config) []string {
	if c.Static.Links != nil {
		return c.Static.Links
	}
	if dir, err := filepath.Abs(c.Dir); err == nil && dir != "/" {
		return []string{dir}
	}
	return nil
}

// key tells routes apart.
func (r *Route) key() string {
	return cmp.Or(r.Name, strings.Join(slices.Concat(r.Match.Host, r.Match.Path, r.Match.Method), " "))
}

// workerUIDs are the users, other than the one of this process, as which workers of cfg run.
func workerUIDs(cfg *Config) []int {
	var uids []int
	for _, c := range cfg.PHP {
		if uid, other := workerUID(c); other {
			uids = append(uids, uid)
		}
	}
	for _, c := range cfg.Services {
		if uid, other := workerUID(php.Config{User: c.User}); other {
			uids = append(uids, uid)
		}
	}
	return uids
}

// workerUID is the user of a pool's workers, when that is another than the one of this process. Only root can have any. A user
// that does not exist is reported by php.New.
func workerUID(c php.Config) (uid int, other bool) {
	if os.Geteuid() != 0 {
		return 0, false
	}
	u, err := user.Lookup(cmp.Or(c.User, "www-data"))
	if err != nil {
		return 0, false
	}
	uid, err = strconv.Atoi(u.Uid)
	return uid, err == nil && uid != 0
}

// newWorkerUsers names the pools of next whose user the RPC server, which is told at the start, does not know.
func newWorkerUsers(old, next *Config) []string {
	if next.RPC == nil {
		return nil
	}
	var keys []string
	known := workerUIDs(old)
	for _, name := range slices.Sorted(maps.Keys(next.PHP)) {
		if uid, other := workerUID(next.PHP[name]); other && !slices.Contains(known, uid) {
			keys = append(keys, "php."+name+".user")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(next.Services)) {
		if uid, other := workerUID(php.Config{User: next.Services[name].User}); other && !slices.Contains(known, uid) {
			keys = append(keys, "services."+name+".user")
		}
	}
	return keys
}
