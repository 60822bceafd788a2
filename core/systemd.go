package core

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier tells systemd how the server fares (sd_notify, Type=notify). Without NOTIFY_SOCKET it tells nobody.
type notifier struct {
	socket string
	every  time.Duration // between two signs of life; 0: none are wanted
	log    *slog.Logger
}

func newNotifier(environ []string, log *slog.Logger) *notifier {
	n := &notifier{socket: variable(environ, "NOTIFY_SOCKET"), log: log}
	if pid := variable(environ, "WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n
	}
	if usec, err := strconv.ParseInt(variable(environ, "WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		n.every = time.Duration(usec) * time.Microsecond / 2
	}
	return n
}

func variable(environ []string, name string) (value string) {
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// tell sends a state such as READY=1. That nobody hears it stops nothing.
func (n *notifier) tell(state string) {
	if n.socket == "" {
		return
	}
	name := n.socket
	if name[0] == '@' {
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		conn.Close()
	}
	if err != nil {
		n.log.Warn("systemd does not hear us", "state", state, "error", err)
	}
}

// reloading announces a reload, which READY=1 ends. systemd wants to know when it began, by the clock that it uses itself.
func (n *notifier) reloading() {
	if usec, ok := monotonic(); ok {
		n.tell("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(usec, 10))
	}
}

// live gives signs of life until ctx ends. alive blocks as long as the server does nothing.
func (n *notifier) live(ctx context.Context, alive func(context.Context) bool) {
	if n.socket == "" || n.every == 0 {
		return
	}
	tick := time.NewTicker(n.every)
	defer tick.Stop()
	for {
		if alive(ctx) {
			n.tell("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// alive reports whether the server still takes connections: it opens one to itself. A server without a listener is alive when it runs at all.
func (e *Edge) alive(ctx context.Context) bool {
	if e.http == nil {
		return true
	}
	for _, a := range e.http.Addresses() {
		if a.Network == "udp" {
			continue
		}
		conn, err := new(net.Dialer).DialContext(ctx, a.Network, a.Addr)
		if err != nil {
			return false
		}
		conn.Close()
	}
	return true
}
