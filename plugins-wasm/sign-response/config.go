package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/plugins-wasm/shared/strict"
)

// settings are the configuration, ready for use.
type settings struct {
	key        key
	keyID      string
	alg        string
	label      string
	tag        string
	components []component
	digest     bool
	expires    time.Duration
}

// key is one of the two.
type key struct {
	secret []byte
	ed     ed25519.PrivateKey
}

func (k *key) sign(text []byte) []byte {
	if k.ed != nil {
		return ed25519.Sign(k.ed, text)
	}
	mac := hmac.New(sha256.New, k.secret)
	mac.Write(text)
	return mac.Sum(nil)
}

// document is the configuration as edge.yaml has it.
type document struct {
	Alg          string    `json:"alg"`
	KeyID        string    `json:"key_id"`
	Secret       string    `json:"secret"`
	SecretBase64 string    `json:"secret_base64"`
	PEM          string    `json:"pem"`
	KeyEnv       string    `json:"key_env"`
	Label        *string   `json:"label"`
	Tag          string    `json:"tag"`
	Components   *[]string `json:"components"`
	Digest       *bool     `json:"digest"`
	Expires      string    `json:"expires"`
}

var usualComponents = []string{"@status", "content-type", "content-digest", "content-encoding", "cache-control", "location"}

func parseConfig(text []byte) (*settings, error) {
	var doc document
	if err := strict.Read(text, &doc); err != nil {
		return nil, err
	}
	s := &settings{keyID: doc.KeyID, alg: doc.Alg, label: "sig", tag: doc.Tag, digest: doc.Digest == nil || *doc.Digest}
	if doc.Label != nil {
		s.label = *doc.Label
	}
	var errs []error
	if doc.KeyID == "" {
		errs = append(errs, errors.New("config.key_id: it is missing: those who verify find the key by it"))
	}
	for name, value := range map[string]string{"key_id": doc.KeyID, "tag": doc.Tag} {
		if strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
			errs = append(errs, fmt.Errorf("config.%s: %q: letters, digits and marks, without quotes and backslashes", name, value))
		}
	}
	if !isKey(s.label) {
		errs = append(errs, fmt.Errorf("config.label: %q: small letters, digits and _-.*, beginning with a letter", s.label))
	}
	errs = append(errs, s.readKey(&doc), s.readComponents(doc.Components), s.readExpires(doc.Expires))
	return s, errors.Join(errs...)
}

const longest = 366 * 24 * time.Hour

func (s *settings) readExpires(text string) (err error) {
	if text == "" {
		return nil
	}
	if s.expires, err = time.ParseDuration(text); err != nil || s.expires < time.Second || s.expires > longest {
		return fmt.Errorf("config.expires: %q is no time from 1s to %s, such as 5m", text, longest)
	}
	return nil
}

func (s *settings) readKey(doc *document) error {
	if doc.KeyEnv != "" {
		value := os.Getenv(doc.KeyEnv)
		if value == "" {
			return fmt.Errorf("config.key_env: the variable %s is empty, or not in allow.env of this plugin", doc.KeyEnv)
		}
		if doc.Secret != "" || doc.SecretBase64 != "" || doc.PEM != "" {
			return errors.New("config.key_env: write it alone, without secret, secret_base64 and pem")
		}
		if doc.Alg == "ed25519" {
			doc.PEM = value
		} else {
			doc.SecretBase64 = value
		}
	}
	switch doc.Alg {
	case "hmac-sha256":
		return s.readSecret(doc)
	case "ed25519":
		return s.readPrivateKey(doc)
	}
	return fmt.Errorf("config.alg: %q is neither hmac-sha256 nor ed25519", doc.Alg)
}

func (s *settings) readSecret(doc *document) (err error) {
	if doc.PEM != "" || (doc.Secret == "") == (doc.SecretBase64 == "") {
		return errors.New("config: hmac-sha256 needs one of secret, secret_base64, key_env")
	}
	s.key.secret = []byte(doc.Secret)
	if doc.SecretBase64 != "" {
		if s.key.secret, err = base64.StdEncoding.DecodeString(strings.TrimSpace(doc.SecretBase64)); err != nil {
			return errors.New("config.secret_base64: it is not base64") // the error would quote it
		}
	}
	if len(s.key.secret) < sha256.Size {
		return fmt.Errorf("config.secret: it has %d bytes, and needs at least %d: openssl rand -base64 32 makes one", len(s.key.secret), sha256.Size)
	}
	return nil
}

func (s *settings) readPrivateKey(doc *document) error {
	if doc.PEM == "" || doc.Secret != "" || doc.SecretBase64 != "" {
		return errors.New("config: ed25519 needs pem or key_env: openssl genpkey -algorithm ed25519 makes one")
	}
	block, _ := pem.Decode([]byte(doc.PEM))
	if block == nil || block.Type != "PRIVATE KEY" {
		return errors.New("config.pem: it is not PEM with a block PRIVATE KEY")
	}
	// PKCS #8, RFC 8410, 7: crypto/x509 reads it as well, and doubles the size of the plugin.
	var info struct {
		Version   int
		Algorithm struct{ OID asn1.ObjectIdentifier }
		Key       []byte
		Rest      asn1.RawValue `asn1:"optional,tag:0"`
		Public    asn1.RawValue `asn1:"optional,tag:1"`
	}
	var seed []byte
	if _, err := asn1.Unmarshal(block.Bytes, &info); err != nil || info.Algorithm.OID.String() != "1.3.101.112" {
		return errors.New("config.pem: it is no Ed25519 key: openssl genpkey -algorithm ed25519 makes one")
	}
	if rest, err := asn1.Unmarshal(info.Key, &seed); err != nil || len(rest) > 0 || len(seed) != ed25519.SeedSize {
		return errors.New("config.pem: the Ed25519 key in it is malformed")
	}
	s.key.ed = ed25519.NewKeyFromSeed(seed)
	return nil
}

func (s *settings) readComponents(names *[]string) error {
	if names == nil {
		names = &usualComponents
	}
	for n, text := range *names {
		name, request := strings.CutSuffix(text, ";req")
		c := component{name, request}
		ofRequest := []string{"@method", "@path", "@query", "@authority"}
		switch {
		case slices.Contains(s.components, c):
			return fmt.Errorf("config.components[%d]: %q is there twice", n, text)
		case slices.Contains(ofRequest, name) && !request:
			return fmt.Errorf("config.components[%d]: %s is of the request: write %q", n, name, name+";req")
		case name == "@status" && request, !slices.Contains(ofRequest, name) && name != "@status" && !isField(name):
			return fmt.Errorf("config.components[%d]: %q is none of @status, %s, nor a field in small letters, with ;req for one of the request", n, text, strings.Join(ofRequest, ";req, ")+";req")
		case !request && (name == "signature" || name == "signature-input" || name == "content-length" || name == "date"):
			return fmt.Errorf("config.components[%d]: %q is written after signing", n, text)
		}
		s.components = append(s.components, c)
	}
	if !slices.Contains(s.components, component{name: "@status"}) {
		return errors.New("config.components: @status is missing: whoever changes it changes what the answer means")
	}
	if !slices.Contains(s.components, component{name: "content-digest"}) {
		return errors.New("config.components: content-digest is missing: the body would not be signed")
	}
	return nil
}

// isField: a name of a field, in small letters.
func isField(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_') })
}

// isKey: a key of a dictionary (RFC 8941, 3.1.2).
func isKey(s string) bool {
	for i, r := range s {
		if !(r >= 'a' && r <= 'z' || i > 0 && (r >= '0' && r <= '9' || strings.ContainsRune("_-.*", r))) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
