package testenv

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// NATS starts a NATS server with JetStream, whose files are in a folder of its own. args are further options.
func NATS(t testing.TB, args ...string) *Server {
	t.Helper()
	path := Tool(t, "nats-server", "apt-get install nats-server")
	dir, port := Dir(t), FreePort(t)
	all := append([]string{"-a", "127.0.0.1", "-p", fmt.Sprint(port), "-js", "-sd", dir}, args...)
	return startServer(t, loopback(port), dir, path, all, natsAnswers)
}

// natsAnswers takes the greeting for a sign of life.
func natsAnswers(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	var info struct {
		JetStream bool `json:"jetstream"`
	}
	text, ok := strings.CutPrefix(line, "INFO ")
	if !ok || json.Unmarshal([]byte(text), &info) != nil {
		return fmt.Errorf("the greeting is %q", line)
	}
	if !info.JetStream {
		return errors.New("JetStream is not there yet")
	}
	return nil
}

// NATSTLS runs a server that talks TLS alone, and only with clients that show the certificate.
func NATSTLS(t testing.TB) (*Server, Certificates) {
	t.Helper()
	c := certificates(t, Dir(t))
	return NATS(t, "--tls", "--tlsverify", "--tlscert", c.Cert, "--tlskey", c.Key, "--tlscacert", c.CA), c
}

// NATSCluster starts three servers that are one.
func NATSCluster(t testing.TB) []*Server {
	t.Helper()
	var ports [3]int
	var routes []string
	for i := range ports {
		ports[i] = FreePort(t)
		routes = append(routes, "nats://"+loopback(ports[i]))
	}
	var servers []*Server
	for i, port := range ports {
		servers = append(servers, NATS(t, "--name", fmt.Sprint("n", i), "--cluster_name", "test", "--cluster", "nats://"+loopback(port),
			"--routes", strings.Join(routes, ",")))
	}
	return servers
}
