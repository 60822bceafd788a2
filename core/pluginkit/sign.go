package pluginkit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/edge-server/edge/sdk"
	"github.com/edge-server/edge/wasmhost/trust"
)

// Keygen makes a pair of keys, writes the private one into file and returns the public one. A key that is there already is
// never overwritten.
func Keygen(file string) (public string, err error) {
	key, private, err := trust.GenerateKey()
	if err != nil {
		return "", err
	}
	text, err := trust.MarshalPrivateKey(private)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("keep the private key: %w", err)
	}
	_, err = f.Write(text)
	return trust.FormatPublicKey(key), errors.Join(err, f.Close())
}

// Sign writes the signature of a plugin beside it, and returns its file. With a name it is good for that name alone.
func Sign(file, keyFile, name string) (string, error) {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return "", fmt.Errorf("private key: %w; edge plugin keygen makes one", err)
	}
	key, err := trust.ParsePrivateKey(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", keyFile, err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	signature, err := trust.Sign(content, name, key)
	if err != nil {
		return "", err
	}
	out := file + trust.Extension
	return out, os.WriteFile(out, signature, 0o644)
}

// Verify checks the signature beside a plugin that is called name.
func Verify(file, name string, keys []string) error {
	var trusted []ed25519.PublicKey
	for _, text := range keys {
		key, err := trust.ParsePublicKey(text)
		if err != nil {
			return err
		}
		trusted = append(trusted, key)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	signature, err := os.ReadFile(file + trust.Extension)
	if err != nil {
		return fmt.Errorf("signature: %w; edge plugin sign makes one", err)
	}
	if err := trust.Verify(content, name, signature, trusted); err != nil {
		return fmt.Errorf("%s: %w", file+trust.Extension, err)
	}
	return nil
}

// ExportSDKs writes the SDKs of all languages into dir.
func ExportSDKs(dir string) error {
	for _, language := range sdk.Languages() {
		if err := sdk.Export(language, filepath.Join(dir, language), true); err != nil {
			return err
		}
	}
	return nil
}
