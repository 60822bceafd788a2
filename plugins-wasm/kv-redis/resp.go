package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// reply is what Redis answers: a number, a text, a list, an error, or nothing.
type reply struct {
	kind   byte // + - : $ *
	number int64
	text   []byte
	list   []reply
	null   bool
}

// Bounds of a reply: the server is not trusted with the plugin's memory.
const (
	maxText  = 64 << 20
	maxList  = 1 << 20
	maxDepth = 4
	maxLine  = 4 << 10
)

var errProtocol = errors.New("the server does not speak the protocol of Redis")

// readReply reads one reply.
func readReply(r *bufio.Reader, depth int) (reply, error) {
	line, err := readLine(r)
	if err != nil {
		return reply{}, err
	}
	rep := reply{kind: line[0]}
	switch rep.kind {
	case '+', '-':
		rep.text = append([]byte{}, line[1:]...)
		return rep, nil
	}
	if rep.number, err = strconv.ParseInt(string(line[1:]), 10, 64); err != nil {
		return reply{}, fmt.Errorf("%w: a reply begins with %.40q", errProtocol, line)
	}
	switch rep.kind {
	case ':':
		return rep, nil
	case '$':
		return rep, rep.readText(r)
	case '*':
		return rep, rep.readList(r, depth)
	}
	return reply{}, fmt.Errorf("%w: a reply begins with %.40q", errProtocol, line)
}

// readLine returns a line of at least one byte, which is good until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("%w: a line of more than %d bytes", errProtocol, r.Size())
		}
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("%w: a reply begins with %.40q", errProtocol, line)
	}
	return line[:len(line)-2], nil
}

func (rep *reply) readText(r *bufio.Reader) error {
	switch n := rep.number; {
	case n == -1:
		rep.null = true
		return nil
	case n < 0 || n > maxText:
		return fmt.Errorf("%w: a text of %d bytes; at most %d are taken", errProtocol, n, maxText)
	}
	// What is announced is believed as it comes, not before.
	const step = 1 << 20
	for left := rep.number; left > 0; {
		n := min(left, step)
		at := len(rep.text)
		rep.text = append(rep.text, make([]byte, n)...)
		if _, err := io.ReadFull(r, rep.text[at:]); err != nil {
			return err
		}
		left -= n
	}
	var end [2]byte
	if _, err := io.ReadFull(r, end[:]); err != nil {
		return err
	}
	if end != [2]byte{'\r', '\n'} {
		return fmt.Errorf("%w: a text does not end where it said", errProtocol)
	}
	return nil
}

func (rep *reply) readList(r *bufio.Reader, depth int) error {
	switch n := rep.number; {
	case n == -1:
		rep.null = true
		return nil
	case n < 0 || n > maxList || depth == maxDepth:
		return fmt.Errorf("%w: a list of %d at depth %d", errProtocol, n, depth)
	}
	for range rep.number {
		item, err := readReply(r, depth+1)
		if err != nil {
			return err
		}
		rep.list = append(rep.list, item)
	}
	return nil
}

// appendCommand writes a command as Redis reads it.
func appendCommand(b []byte, args ...any) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(args)), 10)
	b = append(b, '\r', '\n')
	var scratch [20]byte
	for _, arg := range args {
		var text []byte
		switch a := arg.(type) {
		case string:
			b = appendText(b, a)
			continue
		case []byte:
			text = a
		case int64:
			text = strconv.AppendInt(scratch[:0], a, 10)
		}
		b = appendText(b, text)
	}
	return b
}

func appendText[T string | []byte](b []byte, text T) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, '\r', '\n')
	b = append(b, text...)
	return append(b, '\r', '\n')
}
