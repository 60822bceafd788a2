package ws_test

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// drinkers are clients that cost next to nothing: sockets without goroutines, whose data is counted and thrown away by one goroutine
// with an epoll of its own. What a measurement then sees is the server. Pings are answered, if there is nothing else in the same read.
type drinkers struct {
	epoll int
	fds   []int

	received   atomic.Int64 // bytes of messages
	pings      atomic.Int64
	ended      atomic.Int64 // connections that the server has ended
	turnedAway int          // attempts that failed
	done       chan struct{}
	running    sync.WaitGroup

	// seen, when it is set, gets the number of bytes of each read. It belongs to the goroutine of drink.
	seen func(n int)
}

const clientHandshake = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// maxPerAddress is how many connections leave from one loopback address. It has ports for seven times as many, but to find a free one the
// kernel tries one after the other, which takes longer than all the rest when most are taken.
const maxPerAddress = 4000

// callsAtOnce is how many clients knock before the first answer is looked at: more than the queue of a listening socket holds.
const callsAtOnce = 8192

// caller is a drinker on its way in.
type caller struct {
	fd        int // -1: it waits for another attempt
	connected bool
	answer    []byte
	again     time.Time
}

// pour opens n connections to a server on the loopback, all at once and from as many addresses as that takes. Who is turned away comes
// again a moment later, as front ends do; who is in answers pings while others are still at the door. All are in when it returns, which
// must be within the time given.
func pour(n int, server string, within time.Duration) (*drinkers, error) {
	to, err := netip.ParseAddrPort(server)
	if err != nil {
		return nil, err
	}
	d := &drinkers{fds: make([]int, n), done: make(chan struct{})}
	if d.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	callers, byFD, away := make([]caller, n), map[int]int{}, make([]int, n)
	for i := range callers {
		callers[i].fd, d.fds[i], away[i] = -1, -1, i
	}
	events, b := make([]syscall.EpollEvent, 1024), make([]byte, drinkBuffer)
	for in, k, deadline := 0, 0, time.Now().Add(within); in < n; {
		now := time.Now()
		if now.After(deadline) {
			d.close()
			return nil, fmt.Errorf("%d of %d connections are in after %s, %d were turned away", in, n, within, d.turnedAway)
		}
		waiting, calls := away[:0], 0
		for _, i := range away {
			c := &callers[i]
			// Those that have been let in come first: the server waits for them to speak.
			if calls == callsAtOnce || k == len(events) || now.Before(c.again) {
				waiting = append(waiting, i)
				continue
			}
			calls++
			if c.fd, err = d.call(to, i); err != nil {
				d.close()
				return nil, fmt.Errorf("connection %d of %d: %w", i+1, n, err)
			}
			byFD[c.fd] = i
		}
		away = waiting
		k, _ = syscall.EpollWait(d.epoll, events, 20)
		for _, e := range events[:max(k, 0)] {
			i := byFD[int(e.Fd)]
			if d.fds[i] >= 0 {
				d.sip(d.fds[i], b)
				continue
			}
			switch done, err := d.proceed(&callers[i]); {
			case err != nil:
				d.turnedAway++
				syscall.Close(callers[i].fd)
				callers[i] = caller{fd: -1, again: time.Now().Add(200*time.Millisecond + rand.N(800*time.Millisecond))}
				away = append(away, i)
			case done:
				in++
				d.fds[i] = callers[i].fd
			}
		}
	}
	d.running.Go(d.drink)
	return d, nil
}

// call begins to connect.
func (d *drinkers) call(to netip.AddrPort, i int) (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	const bindAddressNoPort = 24
	syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + i/maxPerAddress)}}); err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("bind: %w", err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil && err != syscall.EINPROGRESS && err != syscall.ECONNREFUSED {
		syscall.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLOUT, Fd: int32(fd)}
	return fd, syscall.EpollCtl(d.epoll, syscall.EPOLL_CTL_ADD, fd, &event)
}

// proceed does the next step of a handshake. An error means that the client was turned away.
func (d *drinkers) proceed(c *caller) (done bool, err error) {
	if !c.connected {
		if code, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || code != 0 {
			return false, cmp.Or(err, error(syscall.Errno(code)))
		}
		if _, err := syscall.Write(c.fd, []byte(clientHandshake)); err != nil {
			return false, err
		}
		c.connected = true
		return false, syscall.EpollCtl(d.epoll, syscall.EPOLL_CTL_MOD, c.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.fd)})
	}
	var b [512]byte
	n, err := syscall.Read(c.fd, b[:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return false, nil
	case n <= 0:
		return false, fmt.Errorf("handshake: %w", cmp.Or(err, io.EOF))
	}
	c.answer = append(c.answer, b[:n]...)
	if !bytes.Contains(c.answer, []byte("\r\n\r\n")) {
		return false, nil
	}
	if !bytes.HasPrefix(c.answer, []byte("HTTP/1.1 101 ")) {
		return false, fmt.Errorf("handshake: %q", c.answer)
	}
	c.answer = nil
	return true, nil
}

// maskedPong answers a ping of nothing.
var maskedPong = frame(fin|pong, nil)

const drinkBuffer = 256 << 10

// drink ends with close.
func (d *drinkers) drink() {
	events := make([]syscall.EpollEvent, 512)
	b := make([]byte, drinkBuffer)
	for {
		n, err := syscall.EpollWait(d.epoll, events, 100)
		if err != nil && err != syscall.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			d.sip(int(e.Fd), b)
		}
		select {
		case <-d.done:
			return
		default:
		}
	}
}

// sip takes what a connection has.
func (d *drinkers) sip(fd int, b []byte) {
	n, err := syscall.Read(fd, b)
	switch {
	case n <= 0 && (err == syscall.EAGAIN || err == syscall.EINTR):
	case n <= 0:
		d.ended.Add(1)
		syscall.EpollCtl(d.epoll, syscall.EPOLL_CTL_DEL, fd, nil)
	case n == 2 && b[0] == fin|ping && b[1] == 0:
		d.pings.Add(1)
		syscall.Write(fd, maskedPong)
	default:
		d.received.Add(int64(n))
		if d.seen != nil {
			d.seen(n)
		}
	}
}

// close ends all connections, by RST: tens of thousands of them would otherwise keep their ports for a minute.
func (d *drinkers) close() {
	close(d.done)
	d.running.Wait()
	for _, fd := range d.fds {
		if fd >= 0 {
			syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
			syscall.Close(fd)
		}
	}
	syscall.Close(d.epoll)
}

// drink opens connections that end with the test.
func drink(t testing.TB, n int, server string) *drinkers {
	t.Helper()
	d, err := pour(n, server, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

// await waits until so many bytes have come, however often it has to look: it is for a moment that is near.
func (d *drinkers) await(t testing.TB, bytes int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); d.received.Load() < bytes; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d bytes came", d.received.Load(), bytes)
		}
	}
}

// clientsMain is drinkers in a process of their own, which obey lines on standard input.
func clientsMain() {
	raiseFiles()
	fmt.Println("ready")
	d := &drinkers{}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch command, arg, _ := strings.Cut(in.Text(), " "); command {
		case "pour": // so many, to a server
			var n int
			var server string
			fmt.Sscan(arg, &n, &server)
			all, err := pour(n, server, 5*time.Minute)
			if err != nil {
				fmt.Println(err)
				continue
			}
			d = all
			fmt.Println("ok")
		case "leave":
			d.close()
			fmt.Println("ok")
		case "away":
			fmt.Println(d.turnedAway)
		case "received":
			fmt.Println(d.received.Load())
		case "pings":
			fmt.Println(d.pings.Load())
		case "ended":
			fmt.Println(d.ended.Load())
		}
	}
}
