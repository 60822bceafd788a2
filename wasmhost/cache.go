package wasmhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
)

const (
	mainModule   = "github.com/edge-server/edge"
	wazeroModule = "github.com/tetratelabs/wazero"
	cachePrefix  = "edge-"
)

// maxEntries is how many modules' code is kept on disk; those used longest ago go first.
const maxEntries = 256

// compileCache keeps native code of modules on disk: compiling a Go guest takes half a second, reading it back 20 ms.
// The files are executed, so the folder belongs to this user alone.
type compileCache struct {
	dir string // "" when nothing is kept on disk
	log *slog.Logger

	mu   sync.Mutex // guards open and the users of its entries
	open map[[sha256.Size]byte]*cacheEntry
}

// cacheEntry is the code of one module, shared by all generations of this content. It has a folder of its own, which makes it
// possible to check the files before the engine takes them: the engine believes the tables in front of the code.
type cacheEntry struct {
	wazero.CompilationCache
	cache *compileCache
	hash  [sha256.Size]byte
	dir   string // "" when it is kept in memory only
	users int
}

// openCache opens root/KEY, where KEY names the versions of Edge and wazero, and removes folders of other versions. An
// empty root keeps compiled code in memory only.
func openCache(root string, log *slog.Logger) (*compileCache, error) {
	c := &compileCache{log: log, open: map[[sha256.Size]byte]*cacheEntry{}}
	if root == "" {
		return c, nil
	}
	key := cacheKey()
	c.dir = filepath.Join(root, key)
	for _, d := range []string{root, c.dir} {
		if err := privateDir(d); err != nil {
			return nil, fmt.Errorf("open compile cache %s: %w", root, err)
		}
	}
	pruneVersions(root, key, log)
	c.prune()
	return c, nil
}

// acquire returns the entry of a module. It does not fail: without a folder, code is kept in memory.
func (c *compileCache) acquire(hash [sha256.Size]byte) *cacheEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.open[hash]
	if !ok {
		e = &cacheEntry{cache: c, hash: hash}
		e.openDir()
		c.open[hash] = e
	}
	e.users++
	return e
}

func (e *cacheEntry) openDir() {
	if e.cache.dir != "" {
		dir := filepath.Join(e.cache.dir, hex.EncodeToString(e.hash[:]))
		if err := discardDamaged(dir); err != nil {
			e.cache.log.Warn("compiled code of a plugin is damaged; it is compiled again", "folder", dir, "error", err)
		}
		cache, err := wazero.NewCompilationCacheWithDir(dir)
		if err == nil {
			e.CompilationCache, e.dir = cache, dir
			return
		}
		e.cache.log.Warn("compiled code of a plugin cannot be kept", "folder", dir, "error", err)
	}
	e.CompilationCache = wazero.NewCompilationCache()
}

// release gives the entry back; the last user closes it.
func (e *cacheEntry) release() error {
	e.cache.mu.Lock()
	defer e.cache.mu.Unlock()
	if e.users--; e.users > 0 {
		return nil
	}
	delete(e.cache.open, e.hash)
	return e.Close(context.Background())
}

// checksumFile lies beside the code. Without it the code was not written to its end.
const checksumFile = "checksum"

// seal makes what was compiled valid for the next start.
func (e *cacheEntry) seal() {
	if e.dir == "" {
		return
	}
	file := filepath.Join(e.dir, checksumFile)
	if os.Chtimes(file, time.Time{}, time.Now()) == nil { // sealed before; the time says when it was used last
		return
	}
	sum, err := checksum(e.dir)
	if err == nil {
		err = os.WriteFile(file, []byte(sum), 0o600)
	}
	if err != nil {
		e.cache.log.Warn("compiled code of a plugin cannot be kept", "folder", e.dir, "error", err)
		return
	}
	e.cache.prune()
}

// discardDamaged removes code that is not what was written. The error says what is wrong; a missing folder is none.
func discardDamaged(dir string) error {
	want, err := os.ReadFile(filepath.Join(dir, checksumFile))
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(dir)
	}
	var sum string
	if err == nil {
		sum, err = checksum(dir)
	}
	if err == nil && sum != string(want) {
		err = errors.New("the checksum differs")
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// checksum is over the names and contents of all files below dir.
func checksum(dir string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == filepath.Join(dir, checksumFile) {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		one := sha256.Sum256(content)
		fmt.Fprintf(sum, "%q %x\n", strings.TrimPrefix(path, dir), one)
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// prune keeps the newest entries: who builds a plugin all day leaves a new one with each content.
func (c *compileCache) prune() {
	entries, err := os.ReadDir(c.dir)
	if err != nil || len(entries) <= maxEntries {
		return
	}
	used := func(entry fs.DirEntry) time.Time {
		info, err := os.Stat(filepath.Join(c.dir, entry.Name(), checksumFile))
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return used(b).Compare(used(a)) })
	for _, entry := range entries[maxEntries:] {
		if err := os.RemoveAll(filepath.Join(c.dir, entry.Name())); err != nil {
			c.log.Warn("old compiled code stays", "folder", filepath.Join(c.dir, entry.Name()), "error", err)
		}
	}
}

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

// pruneVersions removes what other versions left. Only folders that this package names are touched.
func pruneVersions(root, keep string, log *slog.Logger) {
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
