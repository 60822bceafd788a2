// Package jwtkeys has the keys that JSON Web Tokens of clients are checked with, and checks them. Keys come from the configuration alone: a
// token chooses among them, and never brings one.
package jwtkeys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
)

// Config says where keys come from. Several may be there at a time.
type Config struct {
	// Secret is shared with those who make tokens (HS256). At least 32 characters. Default none.
	Secret string `koanf:"secret"`

	// PublicKeyFile is a PEM file with a public key or a certificate: RSA, EC or Ed25519. Default none.
	PublicKeyFile string `koanf:"public_key_file"`

	// JWKSFile is a JSON file with a set of keys (RFC 7517). Default none.
	JWKSFile string `koanf:"jwks_file"`

	// JWKSURL is where such a set is; who answers there makes tokens, so use https. It is asked when tokens come. Default none.
	JWKSURL string `koanf:"jwks_url"`

	// Algorithms that are accepted. Default: HS256 with a secret, those of the key otherwise.
	Algorithms []string `koanf:"algorithms"`
}

// Key is a key with the algorithms that it may be used with. A token is checked with a key of its algorithm only, so nobody can
// pass a public key off as the secret of an HMAC.
type Key struct {
	ID         string
	Algorithms []string
	Material   any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// minSecret is what RFC 7518 (3.2) asks of HS256.
const minSecret = 32

const minRSABits = 2048

var hmacAlgorithms = []string{"HS256", "HS384", "HS512"}

// Any reports whether the section says where keys are.
func (k *Config) Any() bool {
	return k.Secret != "" || k.PublicKeyFile != "" || k.JWKSFile != "" || k.JWKSURL != ""
}

// Load reads the keys of a section that are on this machine. A section without any has none.
func (k *Config) Load() ([]Key, error) {
	if err := k.validURL(); err != nil {
		return nil, err
	}
	var keys []Key
	if k.Secret != "" {
		if len(k.Secret) < minSecret {
			return nil, fmt.Errorf("secret: must have at least %d characters; make one with: openssl rand -hex 32", minSecret)
		}
		key := Key{Algorithms: []string{"HS256"}, Material: []byte(k.Secret)}
		if len(k.Algorithms) > 0 {
			key.Algorithms = hmacAlgorithms
		}
		keys = append(keys, key)
	}
	if k.PublicKeyFile != "" {
		key, err := readPEM(k.PublicKeyFile)
		if err != nil {
			return nil, fmt.Errorf("public_key_file: %w", err)
		}
		keys = append(keys, key)
	}
	if k.JWKSFile != "" {
		data, err := os.ReadFile(k.JWKSFile)
		if err != nil {
			return nil, fmt.Errorf("jwks_file: %w", err)
		}
		set, err := parseJWKS(data)
		if err != nil {
			return nil, fmt.Errorf("jwks_file: %s: %w", k.JWKSFile, err)
		}
		keys = append(keys, set...)
	}
	return k.narrow(keys)
}

// narrow leaves the algorithms that the section allows, by default all that fit the key.
func (k *Config) narrow(keys []Key) ([]Key, error) {
	for _, name := range k.Algorithms {
		if k.JWKSURL != "" && slices.Contains(publicAlgorithms, name) {
			continue
		}
		if !slices.ContainsFunc(keys, func(key Key) bool { return slices.Contains(key.Algorithms, name) }) {
			return nil, fmt.Errorf("algorithms: no key of the section can be used with %q", name)
		}
	}
	if len(k.Algorithms) == 0 {
		return keys, nil
	}
	for i := range keys {
		keys[i].Algorithms = slices.DeleteFunc(slices.Clone(keys[i].Algorithms), func(a string) bool { return !slices.Contains(k.Algorithms, a) })
	}
	return keys, nil
}

func readPEM(path string) (Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Key{}, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return Key{}, fmt.Errorf("%s has no PEM block", path)
	}
	var public any
	switch {
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return Key{}, fmt.Errorf("%s is a private key: the public one is needed: openssl pkey -in KEY -pubout", path)
	case block.Type == "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return Key{}, fmt.Errorf("%s: %w", path, err)
		}
		public = cert.PublicKey
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", path, err)
	}
	key, err := publicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// publicKey finds the algorithms of a key.
func publicKey(material any) (Key, error) {
	key := Key{Material: material}
	switch k := material.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return key, fmt.Errorf("an RSA key of %d bits; at least %d are needed", k.N.BitLen(), minRSABits)
		}
		key.Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			key.Algorithms = []string{"ES256"}
		case elliptic.P384():
			key.Algorithms = []string{"ES384"}
		case elliptic.P521():
			key.Algorithms = []string{"ES512"}
		default:
			return key, errors.New("a curve that no algorithm of JWT has: P-256, P-384 and P-521 are known")
		}
	case ed25519.PublicKey:
		key.Algorithms = []string{"EdDSA"}
	default:
		return key, fmt.Errorf("a key of the kind %T: RSA, EC and Ed25519 are known", material)
	}
	return key, nil
}

// jwk is a key as RFC 7517 has it.
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Alg string `json:"alg"`
	Use string `json:"use"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
	N   string `json:"n"`
	E   string `json:"e"`
	K   string `json:"k"`
}

// parseJWKS reads a key set. Keys for other uses than signatures are left out; one that cannot be read is an error.
func parseJWKS(data []byte) ([]Key, error) { return parseKeys(data, true) }

// parseKeys leaves out what cannot be read unless it is strict.
func parseKeys(data []byte, strict bool) ([]Key, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, err
	}
	var keys []Key
	for i, j := range set.Keys {
		if j.Use != "" && j.Use != "sig" {
			continue
		}
		key, err := j.key()
		if err == nil && j.Alg != "" {
			if !slices.Contains(key.Algorithms, j.Alg) {
				err = fmt.Errorf("alg %q does not fit the key", j.Alg)
			}
			key.Algorithms = []string{j.Alg}
		}
		if err != nil && !strict {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		key.ID = j.Kid
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no keys for signatures")
	}
	return keys, nil
}

func (j *jwk) key() (Key, error) {
	part := func(name, text string) ([]byte, error) {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%s is not base64url", name)
		}
		return b, nil
	}
	switch j.Kty {
	case "oct":
		k, err := part("k", j.K)
		if err != nil {
			return Key{}, err
		}
		if len(k) < minSecret {
			return Key{}, fmt.Errorf("a secret of %d bytes; at least %d are needed", len(k), minSecret)
		}
		return Key{Algorithms: hmacAlgorithms, Material: k}, nil
	case "RSA":
		n, err := part("n", j.N)
		if err != nil {
			return Key{}, err
		}
		e, err := part("e", j.E)
		if err != nil || len(e) > 4 {
			return Key{}, errors.New("e is not an exponent")
		}
		return publicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())})
	case "EC":
		x, err := part("x", j.X)
		if err != nil {
			return Key{}, err
		}
		y, err := part("y", j.Y)
		if err != nil {
			return Key{}, err
		}
		return j.ecKey(x, y)
	case "OKP":
		x, err := part("x", j.X)
		if err != nil || j.Crv != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("an OKP key must be of the curve Ed25519, this one says %q", j.Crv)
		}
		return publicKey(ed25519.PublicKey(x))
	}
	return Key{}, fmt.Errorf("kty %q is none of oct, RSA, EC and OKP", j.Kty)
}

func (j *jwk) ecKey(x, y []byte) (Key, error) {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[j.Crv]
	if curve == nil {
		return Key{}, fmt.Errorf("crv %q is none of P-256, P-384 and P-521", j.Crv)
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) > size || len(y) > size {
		return Key{}, errors.New("x or y is too long")
	}
	point := make([]byte, 1+2*size)
	point[0] = 4
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return Key{}, errors.New("x and y are no point of the curve")
	}
	return publicKey(key)
}
