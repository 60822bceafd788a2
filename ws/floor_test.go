package ws_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// floorMain is a server that does nothing but what a measurement of Edge stands beside, in a process of its own:
//
//	gorilla   net/http and gorilla/websocket with its defaults, a prepared message written to one connection after the other
//	loop      the frame written to one socket after the other by bare system calls: what the kernel alone costs
func floorMain(kind string) {
	var mu sync.Mutex
	var conns []*websocket.Conn
	var sockets []int
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // ends with the process
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		raw, err := c.NetConn().(syscall.Conn).SyscallConn()
		must(err)
		mu.Lock()
		conns = append(conns, c)
		raw.Control(func(fd uintptr) { sockets = append(sockets, int(fd)) })
		mu.Unlock()
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
		}
	}))
	fmt.Println(listener.Addr())
	payload := []byte(strings.Repeat("x", 128))
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, payload)
	must(err)
	wire := append([]byte{0x81, 126, 0, 128}, payload...)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, arg, _ := strings.Cut(in.Text(), " ")
		mu.Lock()
		switch command {
		case "conns":
			fmt.Println(len(conns))
		case "cpu":
			fmt.Println(int(cpu()))
		case "rss":
			fmt.Println(rss())
		case "alone":
			fmt.Println("ok")
		case "publish":
			var n int
			fmt.Sscan(arg, &n)
			began := time.Now()
			for range n {
				if kind == "gorilla" {
					for _, c := range conns {
						c.WritePreparedMessage(message)
					}
					continue
				}
				for _, fd := range sockets {
					for left := wire; len(left) > 0; {
						k, err := syscall.Write(fd, left)
						if err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
							break
						}
						left = left[max(k, 0):]
					}
				}
			}
			fmt.Println(int(time.Since(began)))
		}
		mu.Unlock()
	}
}
