package redis

import "strings"

// slotOf returns the slot of a cluster that a key belongs to: CRC-16/XMODEM of it, or of what stands between the first { and
// the next }, when that is anything.
func slotOf(prefix, key string) uint16 {
	whole := key
	if prefix != "" {
		whole = prefix + key
	}
	if open := strings.IndexByte(whole, '{'); open >= 0 {
		if n := strings.IndexByte(whole[open+1:], '}'); n > 0 {
			whole = whole[open+1 : open+1+n]
		}
	}
	var crc uint16
	for i := range len(whole) {
		crc ^= uint16(whole[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}
