package kv

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// BoltConfig is what the driver boltdb reads. Stores that name the same file share it; what belongs to the file
// (all but bucket) must then be the same in each.
type BoltConfig struct {
	// File is where the data is; it is created when it is not there. A relative path is taken from the folder of edge.yaml.
	// Default: kv.db in state_dir.
	File string `koanf:"file"`

	// Bucket is the store's part of the file. RoadRunner's is called default. Default: the name of the store.
	Bucket string `koanf:"bucket"`

	// Sync is what has happened when a write is acknowledged: always, it is on the disk; interval, everybody sees it, and it is on
	// the disk within sync_interval; never, it is in the file as far as the kernel is concerned, and a loss of power may destroy
	// the whole file. Default: interval.
	Sync string `koanf:"sync"`

	// SyncInterval is how much a crash may lose with sync: interval. Default: 50ms.
	SyncInterval time.Duration `koanf:"sync_interval"`

	// SweepInterval is how often keys that have ended are removed from the file. Nobody sees them before that either.
	// Default: 1s.
	SweepInterval time.Duration `koanf:"sweep_interval"`

	// MaxFileSize bounds the file. A write that would pass it is refused; nothing is evicted. The last sixteenth (up to 32 MiB) is
	// kept for deletes. 0: no limit. Default: 4GiB.
	MaxFileSize bytesize.Size `koanf:"max_file_size"`

	// Permissions of a file that is created, in octal. Default: "0600".
	Permissions string `koanf:"permissions"`

	// LockTimeout is how long the start waits for another process that has the file open. Default: 5s.
	LockTimeout time.Duration `koanf:"lock_timeout"`
}

// Values of BoltConfig.Sync.
const (
	SyncAlways   = "always"
	SyncInterval = "interval"
	SyncNever    = "never"
)

// minBoltFile is the least max_file_size with which the reserve for deletes works out.
const minBoltFile = 4 * bytesize.MiB

// DefaultBoltConfig is what absent keys mean.
func DefaultBoltConfig() BoltConfig {
	return BoltConfig{
		Sync: SyncInterval, SyncInterval: 50 * time.Millisecond, SweepInterval: time.Second,
		MaxFileSize: 4 * bytesize.GiB, Permissions: "0600", LockTimeout: 5 * time.Second,
	}
}

// validateBolt checks the section of the driver boltdb.
func (c Config) validateBolt() error {
	switch {
	case c.Driver == "boltdb":
		return c.BoltDB.validate()
	case c.BoltDB != DefaultBoltConfig() && c.BoltDB != BoltConfig{}:
		return errors.New("boltdb: only a store with the driver boltdb has it; write driver: boltdb, or remove the section")
	}
	return nil
}

func (c BoltConfig) validate() error {
	var errs []error
	if modes := []string{SyncAlways, SyncInterval, SyncNever}; !slices.Contains(modes, c.Sync) {
		errs = append(errs, fmt.Errorf("boltdb.sync: must be one of %s, got %q", strings.Join(modes, ", "), c.Sync))
	}
	if c.SyncInterval < time.Millisecond || c.SyncInterval > time.Minute {
		errs = append(errs, fmt.Errorf("boltdb.sync_interval: must be between 1ms and 1m, got %s", c.SyncInterval))
	}
	if c.SweepInterval < time.Millisecond {
		errs = append(errs, fmt.Errorf("boltdb.sweep_interval: must be at least 1ms, got %s", c.SweepInterval))
	}
	if c.MaxFileSize != 0 && c.MaxFileSize < minBoltFile {
		errs = append(errs, fmt.Errorf("boltdb.max_file_size: must be 0 (no limit) or at least %s, got %s", minBoltFile, c.MaxFileSize))
	}
	if c.LockTimeout <= 0 {
		errs = append(errs, fmt.Errorf("boltdb.lock_timeout: must be more than 0, got %s", c.LockTimeout))
	}
	if strings.HasPrefix(c.Bucket, "edge:") {
		errs = append(errs, fmt.Errorf("boltdb.bucket: names that begin with edge: are Edge's own, got %q", c.Bucket))
	}
	if _, err := c.FileMode(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// FileMode is Permissions as a number.
func (c BoltConfig) FileMode() (fs.FileMode, error) {
	mode, err := strconv.ParseUint(c.Permissions, 8, 32)
	if err != nil || mode > 0o777 || mode&0o600 != 0o600 {
		return 0, fmt.Errorf("boltdb.permissions: must be an octal number that lets the owner read and write, such as \"0600\", got %q", c.Permissions)
	}
	return fs.FileMode(mode), nil
}
