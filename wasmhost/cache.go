package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/tetratelabs/wazero"
)

const (
	mainModule   = "github.com/edge-server/edge"
	wazeroModule = "github.com/tetratelabs/wazero"
	cachePrefix  = "edge-"
)

// compileCache keeps native code of modules on disk: compiling a Go guest takes half a second, reading it back 20 ms.
// The files are executed, so the folder belongs to this user alone.
type compileCache struct {
	wazero.CompilationCache
	dir string // "" when nothing is kept on disk
}

// openCache opens root/KEY, where KEY names the versions of Edge and wazero, and removes folders of other versions. An
// empty root keeps compiled code in memory only.
func openCache(root string, log *slog.Logger) (*compileCache, error) {
	if root == "" {
		return &compileCache{CompilationCache: wazero.NewCompilationCache()}, nil
	}
	key := cacheKey()
	dir := filepath.Join(root, key)
	for _, d := range []string{root, dir} {
		if err := privateDir(d); err != nil {
			return nil, fmt.Errorf("open compile cache %s: %w", root, err)
		}
	}
	pruneCache(root, key, log)
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open compile cache %s: %w", root, err)
	}
	return &compileCache{CompilationCache: cache, dir: dir}, nil
}

func (c *compileCache) close() error { return c.Close(context.Background()) }

// privateDir makes sure that dir exists, is a folder of this user and is closed to all others.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, not to this one (%d), and what lies in it is executed: use another state_dir or chown it",
			dir, stat.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// cacheKey names the code that compiles: native code of another wazero must not be run. Builds without version stamps (go
// test) are told apart by the executable itself.
func cacheKey() string {
	edge, engine := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Path == mainModule {
			edge = info.Main.Version
		}
		for _, dep := range info.Deps {
			if dep.Path == wazeroModule {
				engine = dep.Version
			}
		}
	}
	if edge == "" || engine == "" {
		edge, engine = "dev", executableStamp()
	}
	clean := strings.NewReplacer("/", "_", string(filepath.Separator), "_").Replace
	return cachePrefix + clean(edge) + "-wazero-" + clean(engine) + "-" + runtime.GOOS + "-" + runtime.GOARCH
}

func executableStamp() string {
	path, err := os.Executable()
	if err != nil {
		return "unknown"
	}
	info, err := os.Stat(path)
	if err != nil {
		return "unknown"
	}
	return strconv.FormatInt(info.Size(), 36) + "." + strconv.FormatInt(info.ModTime().UnixNano(), 36)
}

// pruneCache removes what other versions left. Only folders that this package names are touched.
func pruneCache(root, keep string, log *slog.Logger) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && name != keep && strings.HasPrefix(name, cachePrefix) {
			if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
				log.Warn("old compile cache stays", "folder", filepath.Join(root, name), "error", err)
			}
		}
	}
}

// isCacheFailure reports whether compiling failed for the cache and not for the module: the disk is full, another version
// of Edge pruned the folder, a file is damaged. Compiling without the cache then works.
func isCacheFailure(err error) bool {
	var path *fs.PathError
	var errno syscall.Errno
	return errors.As(err, &path) || errors.As(err, &errno) ||
		strings.Contains(err.Error(), "compilationcache")
}
