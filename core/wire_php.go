package core

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/edge-server/edge/php"
)

// newPool prepares a pool: workers inherit the environment of this process and learn where the server's RPC is.
func (e *Edge) newPool(name string, c php.Config, cfg *Config) (*php.Pool, error) {
	env := []string{"RR_VERSION=" + RoadRunnerVersion, "EDGE_VERSION=" + Version}
	if e.rpc != nil {
		env = append(env, "RR_RPC="+e.rpc.Addr(), "EDGE_RPC="+e.rpc.Addr())
	}
	pool, err := php.New(name, c, php.Options{
		Logger:   e.log,
		StateDir: cfg.StateDir,
		Env:      env,
		MaxBody:  cfg.maxBody(),
	})
	if err != nil {
		return nil, fmt.Errorf("php pool %q: %w", name, err)
	}
	return pool, nil
}

func (c *Config) maxBody() int64 {
	if c.HTTP == nil {
		return 0
	}
	return int64(c.HTTP.Limits.Body)
}

// workerUIDs are the users, other than the one of this process, as which workers of cfg run. Only root can have any.
// A user that does not exist is reported by php.New.
func workerUIDs(cfg *Config) []int {
	if os.Geteuid() != 0 {
		return nil
	}
	var uids []int
	for _, c := range cfg.PHP {
		u, err := user.Lookup(cmp.Or(c.User, "www-data"))
		if err != nil {
			continue
		}
		if uid, err := strconv.Atoi(u.Uid); err == nil && uid != 0 {
			uids = append(uids, uid)
		}
	}
	return uids
}
