// Package trust signs plugins and checks their signatures. A signature is a text file beside the plugin, named like it with
// ".sig" behind:
//
//	edge-signature 1
//	key ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
//	name jwt-auth
//	sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
//	signature 5VZDAMNgrHKQhuzRkkW80oeqMhPYFBEhqsZqsrsjeqhs…==
//
// What is signed are the bytes of the lines before the last. The line "name" may be missing; with it the signature is good
// for a plugin of that name alone, so that nobody puts one signed plugin in the place of another. Lines end with a line
// feed, and there is nothing else in the file.
//
// Keys are those of Ed25519 (RFC 8032). A public key is written as in the second line; a private one is a PEM block as
// openssl genpkey -algorithm ed25519 writes it (PKCS #8).
package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Extension of a signature's file, behind the name of what it signs.
const Extension = ".sig"

// MaxSize of a signature's file.
const MaxSize = 4 << 10

const (
	header    = "edge-signature 1"
	algorithm = "ed25519:"
)

// GenerateKey makes a pair of keys.
func GenerateKey() (ed25519.PublicKey, ed25519.PrivateKey, error) {
	return ed25519.GenerateKey(rand.Reader)
}

// FormatPublicKey writes a public key as edge.yaml and signatures have it.
func FormatPublicKey(key ed25519.PublicKey) string {
	return algorithm + base64.StdEncoding.EncodeToString(key)
}

// ParsePublicKey reads what FormatPublicKey writes.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	encoded, ok := strings.CutPrefix(text, algorithm)
	if !ok {
		return nil, fmt.Errorf("%.80q is not a public key: it begins with %q", text, algorithm)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%.80q is not a public key: behind %q come the %d bytes of the key in base64", text, algorithm, ed25519.PublicKeySize)
	}
	return key, nil
}

// MarshalPrivateKey writes a private key as a PEM block. It has no password: keep the file to yourself.
func MarshalPrivateKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParsePrivateKey reads what MarshalPrivateKey writes.
func ParsePrivateKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New(`not a private key: there is no PEM block "PRIVATE KEY" without a password`)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is a %T; plugins are signed with ed25519", key)
	}
	return private, nil
}

// Sign returns the file that signs content. With a name, only a plugin of that name may have it.
func Sign(content []byte, name string, key ed25519.PrivateKey) ([]byte, error) {
	if strings.ContainsAny(name, "\n\r") {
		return nil, fmt.Errorf("sign: the name %q has a line break", name)
	}
	s := signature{key: key.Public().(ed25519.PublicKey), name: name, hash: sha256.Sum256(content)}
	s.signature = ed25519.Sign(key, s.signed())
	return fmt.Appendf(s.signed(), "signature %s\n", base64.StdEncoding.EncodeToString(s.signature)), nil
}

// Verify checks that file signs content for a plugin called name, with one of keys.
func Verify(content []byte, name string, file []byte, keys []ed25519.PublicKey) error {
	s, err := parse(file)
	if err != nil {
		return fmt.Errorf("read signature: %w", err)
	}
	trusted := func(key ed25519.PublicKey) bool { return key.Equal(s.key) }
	switch {
	case !slices.ContainsFunc(keys, trusted):
		return fmt.Errorf("signed with the key %s, which is not trusted", FormatPublicKey(s.key))
	case !ed25519.Verify(s.key, s.signed(), s.signature):
		return errors.New("the signature is forged or damaged: it does not fit the text above it")
	case s.hash != sha256.Sum256(content):
		return fmt.Errorf("the signature is for another content (sha256 %x); sign the file again", s.hash)
	case s.name != "" && s.name != name:
		return fmt.Errorf("the signature is for a plugin called %q, and this one is called %q", s.name, name)
	}
	return nil
}

// signature is a signature's file.
type signature struct {
	key       ed25519.PublicKey
	name      string // "" without
	hash      [sha256.Size]byte
	signature []byte
}

// signed are the bytes that are signed.
func (s signature) signed() []byte {
	text := fmt.Appendf(nil, "%s\nkey %s\n", header, FormatPublicKey(s.key))
	if s.name != "" {
		text = fmt.Appendf(text, "name %s\n", s.name)
	}
	return fmt.Appendf(text, "sha256 %x\n", s.hash)
}

// parse reads a file. What it accepts is written in one way only, so that the bytes which are signed can be made anew.
func parse(file []byte) (signature, error) {
	var s signature
	if len(file) > MaxSize {
		return s, fmt.Errorf("it has %d bytes; at most %d are allowed", len(file), MaxSize)
	}
	text, whole := strings.CutSuffix(string(file), "\n")
	lines := strings.Split(text, "\n")
	if !whole || lines[0] != header {
		return s, fmt.Errorf("it is not a signature of Edge: the first line is %q, and the last one ends", header)
	}
	fields := []string{"key", "sha256", "signature"}
	if len(lines) == 5 {
		fields = []string{"key", "name", "sha256", "signature"}
	}
	if len(lines) != len(fields)+1 {
		return s, fmt.Errorf("it has %d lines; there are 4, or 5 with a name", len(lines))
	}
	for i, field := range fields {
		value, ok := strings.CutPrefix(lines[i+1], field+" ")
		if !ok {
			return s, fmt.Errorf("line %d does not begin with %q", i+2, field+" ")
		}
		if err := s.set(field, value); err != nil {
			return s, fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	if !bytes.HasPrefix(file, s.signed()) {
		return s, errors.New("it is not written as it should be")
	}
	return s, nil
}

func (s *signature) set(field, value string) error {
	var err error
	switch field {
	case "key":
		s.key, err = ParsePublicKey(value)
	case "name":
		if s.name = value; value == "" {
			err = errors.New("the name is empty")
		}
	case "sha256":
		var hash []byte
		if hash, err = hex.DecodeString(value); err == nil && len(hash) != sha256.Size {
			err = fmt.Errorf("a hash of %d bytes", len(hash))
		}
		copy(s.hash[:], hash)
	case "signature":
		s.signature, err = base64.StdEncoding.Strict().DecodeString(value)
		if err == nil && len(s.signature) != ed25519.SignatureSize {
			err = fmt.Errorf("a signature of %d bytes", len(s.signature))
		}
	}
	return err
}
