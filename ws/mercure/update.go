package mercure

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// update is what was published. It does not change once it has a place in the order.
type update struct {
	seq     uint64 // its place in the order of the hub
	at      time.Time
	id      string
	topics  []string // the first is the canonical one
	data    string
	event   string // of Server-Sent Events, the field type of the form
	retry   string // digits
	private bool

	wire []byte // as an event of text/event-stream
}

// size is about what an update holds in memory, and on the disk.
func (u *update) size() int {
	n := len(u.id) + len(u.data) + len(u.event) + len(u.retry) + 32
	for _, t := range u.topics {
		n += len(t) + 2
	}
	return n
}

// stream is the update as an event. An event without a data field would be dropped by the client, so there is always one.
func (u *update) stream() []byte {
	if u.wire != nil {
		return u.wire
	}
	b := make([]byte, 0, len(u.data)+len(u.id)+len(u.event)+64)
	b = append(append(append(b, "id: "...), u.id...), '\n')
	if u.event != "" {
		b = append(append(append(b, "event: "...), u.event...), '\n')
	}
	if u.retry != "" {
		b = append(append(append(b, "retry: "...), u.retry...), '\n')
	}
	for rest, more := u.data, true; more; {
		var line string
		line, rest, more = cutLine(rest)
		b = append(append(append(b, "data: "...), line...), '\n')
	}
	return append(b, '\n')
}

// cutLine splits at the first line break: LF, CR LF or CR, which all end a line of an event stream.
func cutLine(text string) (line, rest string, more bool) {
	i := strings.IndexAny(text, "\r\n")
	if i < 0 {
		return text, "", false
	}
	line, rest = text[:i], text[i+1:]
	if text[i] == '\r' {
		rest = strings.TrimPrefix(rest, "\n")
	}
	return line, rest, true
}

// newID is a random UUID (version 4): an ordered one would tell subscribers about updates that they may not read.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return "urn:uuid:" + text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// What a stored update looks like: the version, flags, the time, and texts with their lengths before them.
const (
	recordVersion = 1
	flagPrivate   = 1
)

func (u *update) encode() []byte {
	b := make([]byte, 0, u.size()+16)
	var flags byte
	if u.private {
		flags |= flagPrivate
	}
	b = append(b, recordVersion, flags)
	b = binary.AppendVarint(b, u.at.UnixNano())
	b = appendText(b, u.id)
	b = appendText(b, u.event)
	b = appendText(b, u.retry)
	b = binary.AppendUvarint(b, uint64(len(u.topics)))
	for _, t := range u.topics {
		b = appendText(b, t)
	}
	return appendText(b, u.data)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

var errRecord = errors.New("the record is damaged")

// decode reads what encode wrote. Nothing of b is kept.
func decode(seq uint64, b []byte) (*update, error) {
	if len(b) < 2 || b[0] != recordVersion {
		return nil, errRecord
	}
	u := &update{seq: seq, private: b[1]&flagPrivate != 0}
	b = b[2:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return nil, errRecord
	}
	u.at, b = time.Unix(0, at), b[n:]
	var ok bool
	for _, to := range []*string{&u.id, &u.event, &u.retry} {
		if *to, b, ok = takeText(b); !ok {
			return nil, errRecord
		}
	}
	count, n := binary.Uvarint(b)
	if n <= 0 || count == 0 || count > uint64(len(b)) {
		return nil, errRecord
	}
	b = b[n:]
	u.topics = make([]string, count)
	for i := range u.topics {
		if u.topics[i], b, ok = takeText(b); !ok {
			return nil, errRecord
		}
	}
	if u.data, b, ok = takeText(b); !ok || len(b) > 0 {
		return nil, errRecord
	}
	return u, nil
}

func takeText(b []byte) (text string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, false
	}
	b = b[n:]
	return string(b[:size]), b[size:], true
}

// validRetry reports whether a text is a number of milliseconds.
func validRetry(text string) bool {
	_, err := strconv.ParseUint(text, 10, 53)
	return err == nil && text[0] != '+'
}
