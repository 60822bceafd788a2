// Package frame reads and writes the goridge v3 frames that Edge and PHP workers speak, over pipes and sockets.
//
// All integers are little-endian.
//
//	offset  size  meaning
//	     0     1  protocol version (1) << 4 | header length in 32-bit words, options included: 3 + n, n <= 10
//	     1     1  flags: what the frame is and how its payload is coded (FlagControl … FlagProto)
//	     2     4  payload length, options excluded
//	     6     4  CRC-32 (IEEE) of the bytes 0 to 5
//	    10     1  stream bits (StreamMore, StreamStop, StreamPing, StreamPong), not under the CRC
//	    11     1  number of a request to sdk/php, which its answer repeats; otherwise 0
//	    12   4*n  options
//	12+4*n   len  payload
//
// A request for a worker has one option, the length of its context, and the payload context ‖ body:
//
//	14 80 05 00 00 00 8e a1 bd af 00 00  02 00 00 00  0a 00  61 62 63
//	│  │  └ 5 bytes   └ CRC       │      └ context: 2 └ context
//	│  └ FlagProto                └ stream bits               └ body "abc"
//	└ version 1, 4 words
//
// A call over RPC has two options, a sequence number and the length of the method's name, and the payload method ‖ argument.
//
// Writing appends: AppendFrame builds a small frame at once; AppendHeader, the caller's own appends and Seal build one in
// place, so that every frame leaves in a single write. PHP reads the first twelve bytes with a single read and gives up when
// that is short, so a frame must never be written in pieces that are smaller than its header.
//
// Reading is a Reader, which keeps one buffer, takes as much as the other side has ready with each read, and refuses what is
// not a frame: a script that echoes onto the relay shows up as a *JunkError that carries the text.
package frame
