package httpserver

import (
	"crypto/ecdh"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// echVersion is that of RFC 9849; configurations of drafts are passed over, as their readers would.
const echVersion = 0xfe0d

// loadECHKeys reads files with a PRIVATE KEY and an ECHCONFIG block each. All can decrypt; clients with an old configuration are sent
// those of the first file.
func loadECHKeys(files []string) ([]tls.EncryptedClientHelloKey, error) {
	var keys []tls.EncryptedClientHelloKey
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("http.tls.ech.keys[%d]: %w", i, err)
		}
		configs, key, err := parseECH(text)
		if err != nil {
			return nil, fmt.Errorf("http.tls.ech.keys[%d]: %s: %w", i, file, err)
		}
		for _, config := range configs {
			keys = append(keys, tls.EncryptedClientHelloKey{Config: config, PrivateKey: key, SendAsRetry: i == 0})
		}
	}
	return keys, nil
}

// parseECH returns the configurations and the private key of a PEM file.
func parseECH(text []byte) (configs [][]byte, key []byte, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			private, ok := parsed.(*ecdh.PrivateKey)
			if !ok || private.Curve() != ecdh.X25519() {
				return nil, nil, errors.New("the private key must be one of X25519")
			}
			key = private.Bytes()
		case "ECHCONFIG":
			if configs, err = splitECH(block.Bytes); err != nil {
				return nil, nil, err
			}
		}
	}
	if key == nil || len(configs) == 0 {
		return nil, nil, errors.New("needs a PRIVATE KEY and an ECHCONFIG block")
	}
	return configs, key, nil
}

// splitECH takes an ECHConfigList apart.
func splitECH(list []byte) (configs [][]byte, err error) {
	broken := errors.New("the ECHCONFIG block is no ECHConfigList")
	if len(list) < 2 || int(binary.BigEndian.Uint16(list)) != len(list)-2 {
		return nil, broken
	}
	for list = list[2:]; len(list) > 0; {
		if len(list) < 4 {
			return nil, broken
		}
		size := 4 + int(binary.BigEndian.Uint16(list[2:]))
		if size > len(list) {
			return nil, broken
		}
		if binary.BigEndian.Uint16(list) == echVersion {
			configs = append(configs, list[:size:size])
		}
		list = list[size:]
	}
	return configs, nil
}
