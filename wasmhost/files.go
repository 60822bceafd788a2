package wasmhost

// wasiFiles are the functions of WASI that change what a guest has open, and by how much. A guest that has something open is
// neither copied nor put back: the engine keeps the table of its files, and it cannot be copied.
var wasiFiles = map[string]int{
	"path_open":   1,
	"sock_accept": 1,
	"fd_close":    -1,
	"fd_renumber": beyondCounting, // moves one over another
}

const (
	beyondCounting = 1 << 20

	// bornWith is how many files a guest has from the beginning, beside its folders: stdin, stdout, stderr.
	bornWith = 3
)
