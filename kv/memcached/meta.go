package memcached

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The meta protocol: a request is a line, "mg key v t", after which ms has a block of data; every request gets one answer, in
// order:
//
//	HD t99 c7\r\n                done; flags that were asked for
//	VA 5 t99 c7\r\nhello\r\n     a value of 5 bytes
//	EN\r\n, NF\r\n               there is no such key
//	NS\r\n                       not stored: the condition was not met
//	EX\r\n                       the item is not the one that c said
//	ERROR\r\n, CLIENT_ERROR why\r\n, SERVER_ERROR why\r\n

// maxLine bounds the line of an answer.
const maxLine = 2048

// reply is an answer.
type reply struct {
	code  string // HD, VA, EN, NF, NS, EX, or the first word of an error
	text  string // what the server says of an error
	value []byte // of VA; nobody else has it
	ttl   int64  // seconds; -1 for ever
	cas   uint64
}

// errProtocol means that the server sent what is no answer. Whatever follows on the connection cannot be trusted.
var errProtocol = errors.New("the server's answer is not the meta protocol of memcached")

// missing reports that there is no such key.
func (r reply) missing() bool { return r.code == "EN" || r.code == "NF" }

// readReply reads one answer. A value larger than maxValue is refused.
func readReply(r *bufio.Reader, maxValue int) (reply, error) {
	line, err := readLine(r)
	if err != nil {
		return reply{}, err
	}
	word, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(word) {
	case "HD":
		return readFlags(reply{code: "HD"}, rest)
	case "VA":
		return readValue(r, rest, maxValue)
	case "EN", "NF", "NS", "EX":
		return reply{code: string(word)}, nil // older servers send no flags here, and nobody needs them
	case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		return reply{code: string(word), text: string(rest)}, nil
	}
	return reply{}, fmt.Errorf("%w: %.60q", errProtocol, line)
}

// readLine returns a line without its end. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull), len(line) > maxLine:
		return nil, fmt.Errorf("%w: a line without end: %.60q", errProtocol, line)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func readValue(r *bufio.Reader, rest []byte, maxValue int) (reply, error) {
	length, flags, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.ParseUint(string(length), 10, 31)
	if err != nil {
		return reply{}, fmt.Errorf("%w: %.40q is no length", errProtocol, length)
	}
	if n > uint64(maxValue) {
		return reply{}, fmt.Errorf("%w: a value of %d bytes, and memcached.max_value is %d", errProtocol, n, maxValue)
	}
	answer, err := readFlags(reply{code: "VA"}, flags)
	if err != nil {
		return reply{}, err
	}
	answer.value = make([]byte, n)
	if _, err := io.ReadFull(r, answer.value); err != nil {
		return reply{}, noEOF(err)
	}
	var end [2]byte
	if _, err := io.ReadFull(r, end[:]); err != nil {
		return reply{}, noEOF(err)
	}
	if end != [2]byte{'\r', '\n'} {
		return reply{}, fmt.Errorf("%w: no line end behind a value", errProtocol)
	}
	return answer, nil
}

// readFlags reads " t99 c7 …"; flags that this client does not ask for are skipped.
func readFlags(answer reply, flags []byte) (reply, error) {
	for flag := range bytes.FieldsSeq(flags) {
		var err error
		switch value := string(flag[1:]); flag[0] {
		case 't':
			answer.ttl, err = strconv.ParseInt(value, 10, 64)
		case 'c':
			answer.cas, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return reply{}, fmt.Errorf("%w: flag %.40q", errProtocol, flag)
		}
	}
	return answer, nil
}

// noEOF turns an end in the middle of an answer into an error of its own.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendLine adds "verb key flags…\r\n".
func appendLine(dst []byte, verb, key string, flags ...string) []byte {
	dst = append(append(append(dst, verb...), ' '), key...)
	for _, f := range flags {
		dst = append(append(dst, ' '), f...)
	}
	return append(dst, '\r', '\n')
}

// appendSet adds "ms key length flags…\r\nvalue\r\n".
func appendSet(dst []byte, key string, value []byte, flags ...string) []byte {
	dst = append(append(dst, "ms "...), key...)
	dst = strconv.AppendInt(append(dst, ' '), int64(len(value)), 10)
	for _, f := range flags {
		dst = append(append(dst, ' '), f...)
	}
	dst = append(append(dst, '\r', '\n'), value...)
	return append(dst, '\r', '\n')
}
