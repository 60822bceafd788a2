package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// algorithm is one of RFC 7518, 3.1, or EdDSA of RFC 8037. "none" is no algorithm here.
type algorithm struct {
	hash  crypto.Hash
	curve elliptic.Curve // of ES
	kind  string         // HS, RS, PS, ES, Ed
}

func algorithmOf(name string) (algorithm, bool) {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	switch {
	case name == "EdDSA":
		return algorithm{kind: "Ed"}, true
	case len(name) != 5 || hash[name[2:]] == 0:
		return algorithm{}, false
	}
	a := algorithm{hash: hash[name[2:]], kind: name[:2]}
	switch a.kind {
	case "ES":
		a.curve = map[string]elliptic.Curve{"256": elliptic.P256(), "384": elliptic.P384(), "512": elliptic.P521()}[name[2:]]
	case "HS", "RS", "PS":
	default:
		return algorithm{}, false
	}
	return a, true
}

const allAlgorithms = "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"

// A key verifies with the algorithms that it was given when it was read. What a token says of its algorithm only chooses among
// them: a public key is never a secret, and "none" is never among them.
type key struct {
	kid    string
	algs   []string
	secret []byte
	rsa    *rsa.PublicKey
	ec     *ecdsa.PublicKey
	ed     ed25519.PublicKey
}

// mayVerify reports whether the key could have signed the token: by its algorithm, and by its name if both have one.
func (k *key) mayVerify(t *token) bool {
	return slices.Contains(k.algs, t.alg) && (k.kid == "" || t.kid == "" || k.kid == t.kid)
}

// verify checks the signature. The caller has asked mayVerify.
func (k *key) verify(t *token) bool {
	a, ok := algorithmOf(t.alg)
	if !ok {
		return false
	}
	switch {
	case a.kind == "HS" && k.secret != nil:
		mac := hmac.New(a.hash.New, k.secret)
		mac.Write(t.signed)
		return hmac.Equal(mac.Sum(nil), t.signature)
	case a.kind == "Ed" && k.ed != nil:
		return len(t.signature) == ed25519.SignatureSize && ed25519.Verify(k.ed, t.signed, t.signature)
	case a.hash == 0:
		return false
	}
	h := a.hash.New()
	h.Write(t.signed)
	digest := h.Sum(nil)
	switch {
	case a.kind == "RS" && k.rsa != nil:
		return rsa.VerifyPKCS1v15(k.rsa, a.hash, digest, t.signature) == nil
	case a.kind == "PS" && k.rsa != nil:
		return rsa.VerifyPSS(k.rsa, a.hash, digest, t.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case a.kind == "ES" && k.ec != nil && k.ec.Curve == a.curve:
		n := (a.curve.Params().BitSize + 7) / 8
		if len(t.signature) != 2*n {
			return false
		}
		r, s := new(big.Int).SetBytes(t.signature[:n]), new(big.Int).SetBytes(t.signature[n:])
		return ecdsa.Verify(k.ec, digest, r, s)
	}
	return false
}

// warmUp verifies nonsense once with every curve that may be needed: the tables that this makes are in all instances then, and no
// request pays for them.
func (s *settings) warmUp() {
	wanted := slices.Clone(s.jwks.algorithms)
	for _, k := range s.keys {
		wanted = append(wanted, k.algs...)
	}
	for _, alg := range wanted {
		a, _ := algorithmOf(alg)
		if a.curve == nil {
			continue
		}
		n := (a.curve.Params().BitSize + 7) / 8
		x, y := a.curve.Params().Gx.FillBytes(make([]byte, n)), a.curve.Params().Gy.FillBytes(make([]byte, n))
		if g, err := ecdsa.ParseUncompressedPublicKey(a.curve, slices.Concat([]byte{4}, x, y)); err == nil { // the curve's own point
			ecdsa.Verify(g, make([]byte, a.hash.Size()), big.NewInt(1), big.NewInt(1))
		}
	}
}

// restrict gives the key its algorithms: all that its type can do, or those of wanted that it can.
func (k *key) restrict(wanted []string) error {
	var can []string
	switch {
	case k.secret != nil:
		can = []string{"HS256", "HS384", "HS512"}
	case k.rsa != nil:
		can = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case k.ec != nil:
		can = []string{map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[k.ec.Curve]}
	case k.ed != nil:
		can = []string{"EdDSA"}
	}
	k.algs = slices.DeleteFunc(slices.Clone(can), func(alg string) bool { return len(wanted) > 0 && !slices.Contains(wanted, alg) })
	if len(k.algs) == 0 {
		return fmt.Errorf("a key of this type is for %s, not for %s", strings.Join(can, ", "), strings.Join(wanted, ", "))
	}
	if k.secret != nil {
		return k.checkSecret()
	}
	return nil
}

// checkSecret: RFC 7518, 3.2: a secret is at least as long as the hash. A short one is guessed from one token.
func (k *key) checkSecret() error {
	for _, alg := range k.algs {
		a, _ := algorithmOf(alg)
		if len(k.secret) < a.hash.Size() {
			return fmt.Errorf("the secret has %d bytes; %s needs at least %d: openssl rand -base64 %d makes one", len(k.secret), alg, a.hash.Size(), a.hash.Size())
		}
	}
	return nil
}

// jwk is what of a JSON Web Key (RFC 7517) matters here.
type jwk struct {
	kty, kid, alg, use, crv string
	n, e, x, y, k           []byte
	ops                     []string
}

func readJWK(members map[string]any) (*jwk, error) {
	j := &jwk{}
	for name, to := range map[string]*string{"kty": &j.kty, "kid": &j.kid, "alg": &j.alg, "use": &j.use, "crv": &j.crv} {
		if value, there := members[name]; there {
			var ok bool
			if *to, ok = value.(string); !ok {
				return nil, fmt.Errorf("%s is no text", name)
			}
		}
	}
	for name, to := range map[string]*[]byte{"n": &j.n, "e": &j.e, "x": &j.x, "y": &j.y, "k": &j.k} {
		value, there := members[name]
		if !there {
			continue
		}
		text, ok := value.(string)
		var err error
		if *to, err = base64.RawURLEncoding.DecodeString(text); !ok || err != nil {
			return nil, fmt.Errorf("%s is not base64url without padding", name)
		}
	}
	_, restricted := members["key_ops"]
	j.ops = texts(members["key_ops"])
	if j.use != "" && j.use != "sig" || restricted && !slices.Contains(j.ops, "verify") {
		return nil, errors.New("it is not for verifying signatures")
	}
	return j, nil
}

func (j *jwk) key() (k *key, err error) {
	k = &key{kid: j.kid}
	switch j.kty {
	case "oct":
		if k.secret = j.k; len(k.secret) == 0 {
			return nil, errors.New("k is missing")
		}
	case "RSA":
		k.rsa, err = rsaKey(new(big.Int).SetBytes(j.n), new(big.Int).SetBytes(j.e))
	case "EC":
		k.ec, err = j.ecKey()
	case "OKP":
		if j.crv != "Ed25519" || len(j.x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("crv %q with an x of %d bytes; only Ed25519 with 32 is known", j.crv, len(j.x))
		}
		k.ed = j.x
	default:
		return nil, fmt.Errorf("kty %q is none of oct, RSA, EC, OKP", j.kty)
	}
	return k, err
}

func (j *jwk) ecKey() (*ecdsa.PublicKey, error) {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[j.crv]
	if curve == nil {
		return nil, fmt.Errorf("crv %q is none of P-256, P-384, P-521", j.crv)
	}
	n := (curve.Params().BitSize + 7) / 8
	if len(j.x) != n || len(j.y) != n {
		return nil, fmt.Errorf("x and y of %s have %d bytes, not %d and %d", j.crv, n, len(j.x), len(j.y))
	}
	return ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, j.x, j.y))
}

func rsaKey(n, e *big.Int) (*rsa.PublicKey, error) {
	if bits := n.BitLen(); bits < 2048 || bits > 8192 {
		return nil, fmt.Errorf("an RSA key of %d bits; 2048 to 8192 are taken", bits)
	}
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 || n.Bit(0) == 0 {
		return nil, errors.New("the exponent or the modulus of the RSA key cannot be")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// subjectPublicKeyInfo of RFC 5280. crypto/x509 reads it as well, and doubles the size of the plugin.
type subjectPublicKeyInfo struct {
	Algorithm struct {
		OID        asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	Key asn1.BitString
}

// certificate is what of an X.509 certificate leads to its key. It is a key in an envelope: who signed it, and until when, does
// not matter for one that the operator has written down.
type certificate struct {
	TBS struct {
		Version            int `asn1:"optional,explicit,default:0,tag:0"`
		Serial             *big.Int
		SignatureAlgorithm asn1.RawValue
		Issuer             asn1.RawValue
		Validity           asn1.RawValue
		Subject            asn1.RawValue
		Key                subjectPublicKeyInfo
		IssuerID           asn1.RawValue `asn1:"optional,tag:1"`
		SubjectID          asn1.RawValue `asn1:"optional,tag:2"`
		Extensions         asn1.RawValue `asn1:"optional,explicit,tag:3"`
	}
	SignatureAlgorithm asn1.RawValue
	Signature          asn1.BitString
}

// readPEM reads a public key or a certificate.
func readPEM(text string) (*key, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM: -----BEGIN PUBLIC KEY----- and lines of base64")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("there is something behind the first block; write an entry of keys for each key")
	}
	switch block.Type {
	case "PUBLIC KEY":
		var info subjectPublicKeyInfo
		if err := unmarshal(block.Bytes, &info); err != nil {
			return nil, err
		}
		return info.key()
	case "CERTIFICATE":
		var c certificate
		if err := unmarshal(block.Bytes, &c); err != nil {
			return nil, err
		}
		return c.TBS.Key.key()
	case "RSA PUBLIC KEY":
		return readRSA(block.Bytes)
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("this is a private key, which has no business here: openssl pkey -pubout makes the public one of it")
	}
	return nil, fmt.Errorf("%.40q is none of PUBLIC KEY, RSA PUBLIC KEY, CERTIFICATE", block.Type)
}

func unmarshal(der []byte, to any) error {
	rest, err := asn1.Unmarshal(der, to)
	if err == nil && len(rest) > 0 {
		err = errors.New("something is behind the key")
	}
	return err
}

func readRSA(der []byte) (*key, error) {
	var pair struct{ N, E *big.Int }
	if err := unmarshal(der, &pair); err != nil {
		return nil, err
	}
	k, err := rsaKey(pair.N, pair.E)
	return &key{rsa: k}, err
}

func (i *subjectPublicKeyInfo) key() (*key, error) {
	bits := i.Key.RightAlign()
	switch i.Algorithm.OID.String() {
	case "1.2.840.113549.1.1.1":
		return readRSA(bits)
	case "1.3.101.112":
		if len(bits) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("an Ed25519 key of %d bytes", len(bits))
		}
		return &key{ed: bits}, nil
	case "1.2.840.10045.2.1":
		var curve asn1.ObjectIdentifier
		if err := unmarshal(i.Algorithm.Parameters.FullBytes, &curve); err != nil {
			return nil, err
		}
		named := map[string]elliptic.Curve{"1.2.840.10045.3.1.7": elliptic.P256(), "1.3.132.0.34": elliptic.P384(), "1.3.132.0.35": elliptic.P521()}[curve.String()]
		if named == nil {
			return nil, fmt.Errorf("the curve %s is none of P-256, P-384, P-521", curve)
		}
		ec, err := ecdsa.ParseUncompressedPublicKey(named, bits)
		return &key{ec: ec}, err
	}
	return nil, fmt.Errorf("a key of type %s; RSA, EC and Ed25519 are known", i.Algorithm.OID)
}
