//go:build unix

package upgrade

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// channel carries messages with files. A message is the length of its body and the number of its files, 4 bytes each, and the body; the files
// travel with the head.
type channel struct {
	conn *net.UnixConn

	sending sync.Mutex
}

const (
	maxMessage = 16 << 20
	maxFiles   = 128
)

// newChannel takes over f.
func newChannel(f *os.File) (*channel, error) {
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("it is no unix socket"), conn.Close())
	}
	return &channel{conn: u}, nil
}

// SocketPair returns two ends of a connection; programs that are started do not get them.
func SocketPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), "socketpair"), os.NewFile(uintptr(fds[1]), "socketpair"), nil
}

// Send sends a message with copies of the descriptors.
func (c *channel) Send(kind string, data any, fds ...int) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	body, err := json.Marshal(message{kind, raw})
	if err != nil {
		return err
	}
	if len(fds) > maxFiles || len(body) > maxMessage {
		return fmt.Errorf("a message of %d bytes with %d files is too large", len(body), len(fds))
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(fds)))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := c.conn.WriteMsgUnix(head, rights, nil); err != nil {
		return err
	}
	_, err = c.conn.Write(body)
	return err
}

// errFailed is what the other process says went wrong.
type errFailed struct{ text string }

func (e errFailed) Error() string { return e.text }

// Receive waits for a message of that kind, whose data goes into data.
func (c *channel) Receive(ctx context.Context, kind string, data any) ([]*os.File, error) {
	m, files, err := c.next(ctx)
	if err == nil && m.Kind == kindFailed {
		var text string
		_ = json.Unmarshal(m.Data, &text)
		err = errFailed{text}
	}
	if err == nil && m.Kind != kind {
		err = fmt.Errorf("it says %q where %q was expected", m.Kind, kind)
	}
	if err == nil && data != nil {
		err = json.Unmarshal(m.Data, data)
	}
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	return files, nil
}

func (c *channel) next(ctx context.Context) (m message, files []*os.File, err error) {
	_ = c.conn.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	head, rights := make([]byte, 8), make([]byte, unix.CmsgSpace(4*maxFiles))
	n, rn, _, _, err := c.conn.ReadMsgUnix(head, rights)
	if err != nil || n == 0 {
		return m, nil, errors.Join(err, io.EOF)
	}
	files = readFiles(rights[:rn])
	if _, err := io.ReadFull(c.conn, head[n:]); err != nil {
		return m, files, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxMessage || int(binary.BigEndian.Uint32(head[4:])) != len(files) {
		return m, files, errors.New("it speaks another protocol")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return m, files, err
	}
	return m, files, json.Unmarshal(body, &m)
}

func readFiles(rights []byte) (files []*os.File) {
	controls, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for i := range controls {
		fds, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Close ends the channel.
func (c *channel) Close() error { return c.conn.Close() }

// send sends a copy of every socket.
func (s *Sockets) send(c *channel) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.streams {
		if err := sendSocket(c, l.name, false, l.Listener); err != nil {
			return err
		}
	}
	for _, p := range s.packets {
		if err := sendSocket(c, p.name, true, p.UDPConn); err != nil {
			return err
		}
	}
	return nil
}

// sendSocket leaves the socket as it is: File and Fd would make it block.
func sendSocket(c *channel, name string, udp bool, socket any) error {
	system, ok := socket.(syscall.Conn)
	if !ok {
		return fmt.Errorf("the socket %q cannot be handed over", name)
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return fmt.Errorf("hand over %q: %w", name, err)
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = c.Send(KindSocket, socketData{name, udp}, int(fd)) }); err != nil {
		return fmt.Errorf("hand over %q: %w", name, err)
	}
	if sent != nil {
		return fmt.Errorf("hand over %q: %w", name, sent)
	}
	return nil
}
