// Package boltdb is the kv driver that keeps everything in a file (bbolt's), for data that outlives the server.
//
// Several stores share a file, a bucket each. bbolt locks a file for one process and one handle, so [Files] opens each file of the
// process once. All that is written to a file goes through one goroutine of it (writer.go), which puts everything that waits into
// one transaction: the more clients write, the more of them share the two fdatasync of a commit. It never waits for more to come.
//
// What an acknowledged write means is the file's sync:
//
//	always    it is on the disk
//	interval  it is visible to everybody at once, and on the disk within sync_interval: writes are gathered in memory
//	          (overlay.go) and committed whole, so a crash of any kind loses the last moments and never the file
//	never     it is in the file, as far as the kernel is concerned: a crash of the process loses nothing, a loss of power may
//	          destroy the file, since the kernel writes pages in an order of its own
//
// # What is in the file
//
//	bucket NAME              key → record: 0xE1, CRC-32C (4 bytes), deadline in Unix milliseconds (8, 0 = never), value
//	bucket edge:expires:NAME deadline (8 bytes, big-endian) | key → nothing: where the sweep finds what has ended
//	bucket edge:stores       NAME → how many keys, how many bytes
//
// RoadRunner's driver has all in one bucket, default, with values in Go's gob encoding. Their first byte is never 0xE1, so they
// are read where they are; a write turns them into records.
//
// The file is not trusted: a record that does not check out is an error that names file, bucket and key, and a damaged page
// is an error instead of a crash.
package boltdb
