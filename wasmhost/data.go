package wasmhost

import "encoding/binary"

// Toolchains cut a program's data into thousands of segments; Go does at every few zeros, 21 000 times in a small guest. The
// engine keeps 24 bytes for each in every instance and goes through all of them to make one. Most of it is one stretch of
// memory, and one segment says the same.

const (
	fewSegments = 64 // are left alone
	dataGap     = 64 // zeros that end a segment
)

// mergeData returns the module with as few data segments as there are stretches of data, or the module itself where that
// could change what it does: when segments are used at run time, or lie outside of the memory.
func mergeData(module []byte) []byte {
	var before, after, data reader
	var memory uint64
	for rest := reader(module[8:]); len(rest) > 0; {
		at := len(module) - len(rest)
		id, err := rest.byte()
		if err != nil {
			return module
		}
		content, err := rest.bytes()
		if err != nil {
			return module
		}
		switch id {
		case sectionMemory:
			if memory, err = initialMemory(content); err != nil {
				return module
			}
		case sectionDataCount: // is there if code uses segments
			return module
		case sectionData:
			before, data, after = module[:at], content, rest
		}
	}
	segments, err := readSegments(data)
	if err != nil || len(segments) < fewSegments {
		return module
	}
	content, ok := layOut(segments, memory)
	if !ok {
		return module
	}
	section := appendSegments(nil, stretches(segments[0].offset, content))
	merged := append([]byte(nil), before...)
	merged = append(merged, sectionData)
	merged = binary.AppendUvarint(merged, uint64(len(section)))
	merged = append(merged, section...)
	return append(merged, after...)
}

func initialMemory(r reader) (uint64, error) {
	count, err := r.u32()
	if err != nil || count != 1 {
		return 0, errMalformed
	}
	if _, err = r.byte(); err != nil {
		return 0, err
	}
	pages, err := r.u32()
	return uint64(pages) * uint64(pageSize), err
}

type segment struct {
	offset uint32
	bytes  []byte
}

// readSegments fails for anything but segments of the form "at this constant in memory 0". The lowest offset is put first.
func readSegments(r reader) ([]segment, error) {
	count, err := r.u32()
	if err != nil || int(count) > len(r) {
		return nil, errMalformed
	}
	segments := make([]segment, 0, count)
	lowest := 0
	for range count {
		head, err := r.take(2)
		if err != nil || head[0] != 0 || head[1] != 0x41 { // active, i32.const
			return nil, errMalformed
		}
		offset, err := r.s32()
		if err != nil {
			return nil, err
		}
		if end, err := r.byte(); err != nil || end != 0x0b {
			return nil, errMalformed
		}
		content, err := r.bytes()
		if err != nil {
			return nil, err
		}
		segments = append(segments, segment{uint32(offset), content})
		if uint32(offset) < segments[lowest].offset {
			lowest = len(segments) - 1
		}
	}
	if len(segments) > 0 && lowest > 0 { // a segment of no bytes keeps the order of the others
		segments = append([]segment{{offset: segments[lowest].offset}}, segments...)
	}
	return segments, nil
}

// s32 reads a signed LEB128 number.
func (r *reader) s32() (int32, error) {
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			if b&0x40 != 0 && shift < 28 {
				v |= ^uint32(0) << (shift + 7)
			}
			return int32(v), nil
		}
	}
	return 0, errMalformed
}

// layOut writes the segments where they go, from the lowest offset on; later ones over earlier ones, as the engine does.
func layOut(segments []segment, memory uint64) ([]byte, bool) {
	first, end, size := uint64(segments[0].offset), uint64(0), uint64(0)
	for _, s := range segments {
		end = max(end, uint64(s.offset)+uint64(len(s.bytes)))
		size += uint64(len(s.bytes))
	}
	if end > memory || end-first > 16*size+uint64(pageSize) { // it traps, or is far apart
		return nil, false
	}
	content := make([]byte, end-first)
	for _, s := range segments {
		copy(content[uint64(s.offset)-first:], s.bytes)
	}
	return content, true
}

// stretches cuts content where there are many zeros, which is what memory holds anyway.
func stretches(offset uint32, content []byte) []segment {
	var cut []segment
	for at := 0; at < len(content); {
		if content[at] == 0 {
			at++
			continue
		}
		end, zeros := at, 0
		for i := at; i < len(content) && zeros < dataGap; i++ {
			if zeros++; content[i] != 0 {
				end, zeros = i+1, 0
			}
		}
		cut = append(cut, segment{offset + uint32(at), content[at:end]})
		at = end
	}
	return cut
}

func appendSegments(b []byte, segments []segment) []byte {
	b = binary.AppendUvarint(b, uint64(len(segments)))
	for _, s := range segments {
		b = append(b, 0, 0x41)
		b = appendS32(b, int32(s.offset))
		b = append(b, 0x0b)
		b = binary.AppendUvarint(b, uint64(len(s.bytes)))
		b = append(b, s.bytes...)
	}
	return b
}

// appendS32 writes a signed LEB128 number.
func appendS32(b []byte, v int32) []byte {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}
