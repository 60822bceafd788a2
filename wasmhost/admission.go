package wasmhost

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/edge-server/edge/wasmhost/trust"
)

// errNotAdmitted marks a content that is not the one that was pinned, or that nobody trusted has signed. What changes
// that may be another file than the module, so it is looked at again whenever something in the folder changes.
type errNotAdmitted struct{ error }

func (e errNotAdmitted) Unwrap() error { return e.error }

// admit checks the content of a plugin's file before anything of it is read: against modules.NAME.sha256, and against the
// signature beside it when plugins.trust lists keys.
func (h *Host) admit(p *Plugin, content []byte) error {
	if want := p.config.SHA256; want != "" {
		if got := sha256.Sum256(content); !strings.EqualFold(want, hex.EncodeToString(got[:])) {
			return errNotAdmitted{fmt.Errorf("its sha256 is %x, and plugins.modules.%s.sha256 asks for %s", got, p.name, want)}
		}
	}
	if len(h.cfg.Trust) == 0 {
		return nil
	}
	file := p.file + trust.Extension
	signature, err := readSignature(file)
	if errors.Is(err, fs.ErrNotExist) {
		return errNotAdmitted{fmt.Errorf("plugins.trust asks for a signature, and there is no %s: sign it with edge plugin sign", file)}
	}
	if err == nil {
		err = trust.Verify(content, p.name, signature, h.trusted)
	}
	if err != nil {
		return errNotAdmitted{fmt.Errorf("%s: %w", file, err)}
	}
	return nil
}

func readSignature(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, trust.MaxSize+1))
}

// trustedKeys are the keys of plugins.trust.
func (c Config) trustedKeys() ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	var errs []error
	for i, text := range c.Trust {
		key, err := trust.ParsePublicKey(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("trust[%d]: %w", i, err))
		}
		keys = append(keys, key)
	}
	return keys, errors.Join(errs...)
}

// checkPin reports what is wrong with a value of sha256, "" for nothing.
func checkPin(pin string) string {
	if pin == "" {
		return ""
	}
	if raw, err := hex.DecodeString(pin); err != nil || len(raw) != sha256.Size {
		return "must be the 64 hexadecimal digits that sha256sum prints"
	}
	return ""
}
