package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
)

// TestClusterNodeKilled: only the channels of the server that died are lost, until its replica takes over.
func TestClusterNodeKilled(t *testing.T) {
	t.Parallel()
	servers := testenv.RedisCluster(t)
	var addresses []string
	for _, s := range servers {
		addresses = append(addresses, s.Addr)
		do(t, s, "CONFIG", "SET", "cluster-require-full-coverage", "no") // else all stop until the replica has taken over
	}
	c := config(addresses...)
	c.Partitions = 8
	make := through(c)
	a, b := brokertest.Start(t, make(t), "a"), brokertest.Start(t, make(t), "b")
	keptCostsNoInfo(t, a, servers...)
	var channels []ws.Address
	for i := range 40 {
		of := ws.Address{Space: "s", Channel: fmt.Sprint("c", i)}
		channels = append(channels, of)
		a.Subscribe(of)
		b.Subscribe(of)
		a.Enter(of, "ann", 1)
	}
	for _, s := range servers {
		if role, err := testenv.RedisDo(s.Addr, "ROLE"); err == nil && strings.HasPrefix(role, "master") {
			s.Kill()
			break
		}
	}
	a.AwaitLost()
	reached := 0
	for _, of := range channels {
		a.Say(of, "meanwhile", ws.Keep{})
		a.AwaitThat(of, "it here", func(got []string) bool { return slices.Contains(got, "meanwhile") })
	}
	testenv.Eventually(t, "other channels reach the other node", func() bool {
		reached = 0
		for _, of := range channels {
			if slices.Contains(b.Heard(of), "meanwhile") {
				reached++
			}
		}
		return reached > 0
	})
	if s := a.Stats(); s.Lost == s.Parts || s.Local == 0 {
		t.Errorf("one of three servers was killed: %+v", s)
	}
	a.AwaitOnline()
	b.AwaitOnline()
	for _, of := range channels {
		a.Reach(of, b)
		testenv.Eventually(t, of.Channel+" has its member", func() bool { return slices.Equal(b.Users(of), []string{"ann"}) })
	}
}
