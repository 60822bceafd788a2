package abi

import (
	"encoding/binary"
	"slices"
)

// AppendManifest returns module with manifest in a custom section at its end: for compilers, such as Go's, that cannot write
// one. A module that is given two of them has the first.
func AppendManifest(module, manifest []byte) []byte {
	content := binary.AppendUvarint(nil, uint64(len(ManifestSection)))
	content = append(append(content, ManifestSection...), manifest...)

	const customSection = 0
	out := append(slices.Clone(module), customSection)
	out = binary.AppendUvarint(out, uint64(len(content)))
	return append(out, content...)
}
