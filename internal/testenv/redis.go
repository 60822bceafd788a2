package testenv

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func redisServer(t testing.TB) string {
	t.Helper()
	return Tool(t, "redis-server", "apt-get install redis-server")
}

// Redis starts a Redis of its own, which keeps nothing on disk. args are further options, such as "--requirepass", "secret".
func Redis(t testing.TB, args ...string) *Server {
	t.Helper()
	return redis(t, FreePort(t), args...)
}

func redis(t testing.TB, port int, args ...string) *Server {
	t.Helper()
	path, dir := redisServer(t), Dir(t)
	all := append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0"}, args...)
	return startServer(t, loopback(port), dir, path, all, redisAnswers)
}

// RedisSocket starts a Redis that listens on a unix socket alone.
func RedisSocket(t testing.TB) *Server {
	t.Helper()
	path, dir := redisServer(t), Dir(t)
	socket := filepath.Join(dir, "redis.sock")
	args := []string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no"}
	return startServer(t, socket, dir, path, args, redisAnswers)
}

// Certificates is a private authority and what it signed, as files.
type Certificates struct{ CA, Cert, Key string }

// RedisTLS starts a Redis that speaks TLS alone and wants a certificate of the client, which may be its own.
func RedisTLS(t testing.TB) (*Server, Certificates) {
	t.Helper()
	path, dir, port := redisServer(t), Dir(t), FreePort(t)
	c := certificates(t, dir)
	args := []string{
		"--port", "0", "--tls-port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no",
		"--tls-cert-file", c.Cert, "--tls-key-file", c.Key, "--tls-ca-cert-file", c.CA,
	}
	ready := func(addr string) error {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return err
		}
		conn, err := tls.Dial("tcp", addr, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		return ping(conn)
	}
	return startServer(t, loopback(port), dir, path, args, ready), c
}

// certificates makes an authority and one certificate for 127.0.0.1 and localhost with the openssl of the machine.
func certificates(t testing.TB, dir string) Certificates {
	t.Helper()
	openssl := Tool(t, "openssl", "apt-get install openssl")
	c := Certificates{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	write(t, filepath.Join(dir, "ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
	for _, args := range []string{
		"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca",
		"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost",
		"x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext",
	} {
		cmd := exec.Command(openssl, strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", args, err, out)
		}
	}
	return c
}

// RedisCluster starts three masters and a replica for each, and waits until the cluster serves every slot and the replicas are in
// step: one that is not never takes over.
func RedisCluster(t testing.TB) []*Server {
	t.Helper()
	cli := Tool(t, "redis-cli", "apt-get install redis-tools")
	var nodes []*Server
	create := []string{"--cluster", "create"}
	for range 6 {
		n := Redis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "3000", "--cluster-port", fmt.Sprint(FreePort(t)))
		nodes = append(nodes, n)
		create = append(create, n.Addr)
	}
	if out, err := exec.Command(cli, append(create, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("create the cluster: %v\n%s", err, out)
	}
	for _, n := range nodes {
		Eventually(t, "cluster_state:ok at "+n.Addr, func() bool {
			info, err := RedisDo(n.Addr, "CLUSTER", "INFO")
			nodes, _ := RedisDo(n.Addr, "CLUSTER", "NODES")
			replication, _ := RedisDo(n.Addr, "INFO", "replication")
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Count(nodes, "slave") == 3 &&
				(strings.Contains(replication, "role:master") || strings.Contains(replication, "master_link_status:up"))
		})
	}
	return nodes
}

// Sentinels is a master, its replica and three sentinels that call the master "main".
type Sentinels struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// Addrs are the addresses of the sentinels.
func (s *Sentinels) Addrs() []string {
	var all []string
	for _, one := range s.Sentinels {
		all = append(all, one.Addr)
	}
	return all
}

// RedisSentinel starts a master with a replica, and sentinels that replace the master after a second and a half of silence. The
// sentinels start when the replica is in step: before that they see no replica and never fail over.
func RedisSentinel(t testing.TB) *Sentinels {
	t.Helper()
	path := redisServer(t)
	s := &Sentinels{Master: Redis(t)}
	s.Replica = Redis(t, "--replicaof", "127.0.0.1 "+fmt.Sprint(s.Master.Port()))
	Eventually(t, "the replica in step", func() bool {
		info, err := RedisDo(s.Replica.Addr, "INFO", "replication")
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	for range 3 {
		dir, port := Dir(t), FreePort(t)
		config := filepath.Join(dir, "sentinel.conf")
		write(t, config, fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %d 2\n"+
			"sentinel down-after-milliseconds main 1500\nsentinel failover-timeout main 3000\n", port, dir, s.Master.Port()))
		s.Sentinels = append(s.Sentinels, startServer(t, loopback(port), dir, path, []string{config, "--sentinel"}, redisAnswers))
	}
	for _, one := range s.Sentinels {
		Eventually(t, "the sentinels know each other and the replica", func() bool {
			info, err := RedisDo(one.Addr, "INFO", "sentinel")
			return err == nil && strings.Contains(info, "slaves=1,sentinels=3")
		})
	}
	return s
}

func redisAnswers(addr string) error {
	network := "tcp"
	if addr[0] == '/' {
		network = "unix"
	}
	conn, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return err
	}
	return ping(conn)
}

// ping takes any answer for a sign of life: one that wants a password lives, too. One that loads its data does not.
func ping(conn net.Conn) error {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.HasPrefix(answer, "-LOADING") {
		return errors.New(strings.TrimSpace(answer))
	}
	return nil
}

// RedisDo sends one command over a connection of its own and returns the answer of redis-cli's raw form.
func RedisDo(addr string, args ...string) (string, error) {
	where := []string{"-s", addr}
	if host, port, err := net.SplitHostPort(addr); err == nil {
		where = []string{"-h", host, "-p", port}
	}
	out, err := exec.Command("redis-cli", append(where, args...)...).CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}
