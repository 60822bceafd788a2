package nats_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/internal/tlsclient"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
	"github.com/edge-server/edge/ws/nats"
)

// nkey is an Ed25519 key as NATS writes it: prefix, key and CRC in base32.
type nkey struct {
	kind    byte
	private ed25519.PrivateKey
}

const (
	operatorKey = 14 << 3
	accountKey  = 0
	userKey     = 20 << 3
)

func newNKey(kind byte) nkey {
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	return nkey{kind, private}
}

func (k nkey) public() string {
	return nkeyText(append([]byte{k.kind}, k.private.Public().(ed25519.PublicKey)...))
}

func (k nkey) seed() string {
	const seed = 18 << 3
	return nkeyText(append([]byte{seed | k.kind>>5, k.kind & 31 << 3}, k.private.Seed()...))
}

func nkeyText(b []byte) string {
	var crc uint16 // XMODEM
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(binary.LittleEndian.AppendUint16(b, crc))
}

// token signs what is claimed about another key.
func (k nkey) token(about nkey, name string, claims map[string]any) string {
	enc := base64.RawURLEncoding
	body, _ := json.Marshal(map[string]any{"jti": name, "iat": time.Now().Unix(), "iss": k.public(), "sub": about.public(), "name": name, "nats": claims})
	text := enc.EncodeToString([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + enc.EncodeToString(body)
	return text + "." + enc.EncodeToString(ed25519.Sign(k.private, []byte(text)))
}

// operated is a configuration of a server whose users have tokens, and such a user's file of credentials.
func operated(t *testing.T) (config, credentials string) {
	operator, system, account, user := newNKey(operatorKey), newNKey(accountKey), newNKey(accountKey), newNKey(userKey)
	unlimited := map[string]any{
		"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
		"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
	}
	few := map[string]any{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1}
	config = fmt.Sprintf("operator: %s\nresolver: MEMORY\nsystem_account: %s\nresolver_preload: {%[2]s: %[3]s, %[4]s: %[5]s}\n",
		operator.token(operator, "operator", map[string]any{"type": "operator", "version": 2}),
		system.public(), operator.token(system, "SYS", map[string]any{"type": "account", "version": 2, "limits": few}), account.public(),
		operator.token(account, "account", map[string]any{"type": "account", "version": 2, "limits": unlimited}))
	token := account.token(user, "user", map[string]any{"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
	return config, file(t, "user.creds", "-----BEGIN NATS USER JWT-----\n"+token+"\n------END NATS USER JWT------\n\n"+
		"-----BEGIN USER NKEY SEED-----\n"+user.seed()+"\n------END USER NKEY SEED------\n")
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(testenv.Dir(t), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLogin: each way to log in works, without it the start is refused, and what is secret is in no error.
func TestLogin(t *testing.T) {
	t.Parallel()
	user := newNKey(userKey)
	operator, credentials := operated(t)
	for name, tt := range map[string]struct {
		server string
		login  func(*nats.Config)
	}{
		"password":    {"authorization {user: edge, password: hunter2}", func(c *nats.Config) { c.Username, c.Password = "edge", "hunter2" }},
		"token":       {"authorization {token: hunter2}", func(c *nats.Config) { c.Token = "hunter2" }},
		"nkey":        {"authorization {users: [{nkey: " + user.public() + "}]}", func(c *nats.Config) { c.NKey = file(t, "user.nk", user.seed()) }},
		"credentials": {operator, func(c *nats.Config) { c.Credentials = credentials }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testenv.NATS(t, "-c", file(t, "nats.conf", tt.server+"\n"))
			c, p := config(s.Addr), prefix()
			tt.login(&c)
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			a, b := brokertest.Start(t, broker(c, p), "a"), brokertest.Start(t, broker(c, p), "b")
			b.Subscribe(news)
			a.Say(news, "secret", ws.Keep{Size: 1})
			b.Await(news, "secret")
			a.Enter(news, "ann", 1)
			b.Await(news, "secret", "+ann")

			for _, wrong := range []nats.Config{config(s.Addr), func() nats.Config {
				c := config(s.Addr)
				c.Username, c.Password = "nobody", "hunter3"
				return c
			}()} {
				refused := broker(wrong, p)
				err := refused.Start(t.Context(), &brokertest.Node{Broker: refused})
				if err == nil || !strings.Contains(err.Error(), s.Addr) || !strings.Contains(err.Error(), "uthorization") || strings.Contains(err.Error(), "hunter") {
					t.Errorf("without the right to: %v", err)
				}
			}
		})
	}
}

var news = ws.Address{Space: "s", Channel: "news"}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, certificates := testenv.NATSTLS(t)
	c := config(s.Addr)
	c.TLS = &tlsclient.Config{CA: certificates.CA, Cert: certificates.Cert, Key: certificates.Key}
	p := prefix()
	a, b := brokertest.Start(t, broker(c, p), "a"), brokertest.Start(t, broker(c, p), "b")
	b.Subscribe(news)
	a.Say(news, "secret", ws.Keep{Size: 1})
	b.Await(news, "secret")
	c.TLS = &tlsclient.Config{CA: certificates.CA} // without a certificate of its own
	refused := broker(c, p)
	if err := refused.Start(t.Context(), &brokertest.Node{Broker: refused}); err == nil || !strings.Contains(err.Error(), "tls") {
		t.Errorf("without a certificate: %v", err)
	}
}

// TestFailover: when a server of a cluster dies, its nodes go on with another one, and nothing that was kept is lost.
func TestFailover(t *testing.T) {
	t.Parallel()
	servers := testenv.NATSCluster(t)
	c := config(servers[0].Addr)
	for _, s := range servers[1:] {
		c.Servers = append(c.Servers, "nats://"+s.Addr)
	}
	c.Replicas = 3
	p := prefix()
	testenv.Eventually(t, "the servers are a cluster", func() bool {
		b := hasty.broker(c, prefix())
		err := b.Start(t.Context(), ws.NewHub(ws.Options{Broker: b}))
		return err == nil && b.Stop(t.Context()) == nil
	})
	var nodes []*brokertest.Node
	for i := range 3 {
		one := c
		one.Servers = append(append([]string{}, c.Servers[i:]...), c.Servers[:i]...)
		nodes = append(nodes, brokertest.Start(t, hasty.broker(one, p), fmt.Sprint("n", i)))
	}
	kept := ws.Keep{Size: 100, TTL: time.Minute}
	for i, n := range nodes {
		n.Subscribe(news)
		n.Enter(news, fmt.Sprint("u", i), ws.ConnID(i+1))
	}
	nodes[0].Say(news, "before", kept)
	for round := range testenv.Count(1, 5) {
		for i, s := range servers[:testenv.Count(1, 3)] {
			s.Kill()
			for j, n := range nodes {
				text := fmt.Sprint(round, " ", i, " ", j)
				n.AwaitThat(news, "a publication that everybody gets", func([]string) bool {
					n.AwaitOnline()
					at := n.Say(news, text, kept)
					return at.Offset > 0 // the first ones may find a server that is dead, and reach their own node alone
				})
			}
			s.Start()
			for _, n := range nodes {
				n.AwaitOnline()
			}
		}
	}
	for _, n := range nodes {
		testenv.Eventually(t, "everybody has the last one", func() bool {
			past, err := nodes[1].History(t.Context(), news, ws.Position{}, 1) // empty while it has no server
			got := n.Heard(news)
			return err == nil && len(past.Publications) == 1 && len(got) > 0 && got[len(got)-1] == string(past.Publications[0].Message.Payload())
		})
		testenv.Eventually(t, "everybody knows everybody again", func() bool { return len(n.Users(news)) == 3 })
	}
}
