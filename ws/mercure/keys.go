package mercure

import "github.com/edge-server/edge/ws/jwtkeys"

// load reads the keys of a section. A section without any has none.
func (k *Keys) load() ([]jwtkeys.Key, error) {
	from := jwtkeys.Config{Secret: k.Secret, PublicKeyFile: k.PublicKeyFile, JWKSFile: k.JWKSFile, Algorithms: k.Algorithms}
	return from.Load()
}
