// Package docs is what the binary carries of this folder.
package docs

import _ "embed"

//go:embed edge.schema.json
var schema []byte

// Schema is the JSON schema of edge.yaml. `make schema` writes it.
func Schema() []byte { return schema }
