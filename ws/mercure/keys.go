package mercure

import "github.com/edge-server/edge/ws/jwtkeys"

// source is where the keys of a section come from.
func (k *Keys) source() *jwtkeys.Config {
	return &jwtkeys.Config{Secret: k.Secret, PublicKeyFile: k.PublicKeyFile, JWKSFile: k.JWKSFile, JWKSURL: k.JWKSURL, Algorithms: k.Algorithms}
}

func (k *Keys) any() bool { return k.source().Any() }
