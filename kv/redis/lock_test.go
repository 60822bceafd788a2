package redis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

// The name of the environment variable that makes this binary a member of a fleet: ADDRESS PREFIX ROUNDS.
const memberOf = "EDGE_TEST_FLEET"

// TestLockOfAFleet lets processes take turns: never are two inside, the fences of locks only grow, and a process that is killed
// while it holds the lock keeps the others waiting for the rest of its lease and no longer.
func TestLockOfAFleet(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	c := config(server.Addr)
	rounds := testenv.Count(30, 500)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if out, err := member(t, c, rounds).CombinedOutput(); err != nil {
				t.Errorf("a member of the fleet: %v\n%s", err, out)
			}
		})
	}
	victim := member(t, c, 1<<30)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "inside 5"; {
	}
	_ = victim.Process.Kill()
	_ = victim.Wait()
	wg.Wait()
	if got := do(t, server, "GET", "turns"); got == "" || got < strconv.Itoa(3*rounds) && len(got) <= len(strconv.Itoa(3*rounds)) {
		t.Errorf("%s turns were taken, want at least %d", got, 3*rounds)
	}
}

func member(t *testing.T, c kv.RedisConfig, rounds int) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemberOfAFleet$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", memberOf, c.Addresses[0], c.Prefix, rounds))
	return cmd
}

// TestMemberOfAFleet is the other process.
func TestMemberOfAFleet(t *testing.T) {
	args := strings.Fields(os.Getenv(memberOf))
	if len(args) != 3 {
		return // nobody started this as one
	}
	c := kv.DefaultRedisConfig()
	c.Addresses, c.Prefix = args[:1], args[1]
	rounds, _ := strconv.Atoi(args[2])
	front := kv.Wrap("fleet", open(t, c), kv.DefaultLimits())
	witness := goredis.NewClient(&goredis.Options{Addr: args[0]})
	defer witness.Close()
	ctx := context.Background()
	for turn := range rounds {
		token, fence, err := front.Lock(ctx, "job", 5*time.Second, time.Minute)
		if err != nil || token == "" {
			t.Fatalf("Lock: %q %v", token, err)
		}
		fmt.Println("inside", turn)
		// A holder says who is inside for as long as its lease, and looks whether anybody else is.
		if ok, err := witness.SetNX(ctx, "inside", token, 4*time.Second).Result(); err != nil || !ok {
			t.Fatalf("another holder is inside (%v)", err)
		}
		last, err := redisInt(witness.SetArgs(ctx, "fence", fence, goredis.SetArgs{Get: true}).Result())
		if err != nil || last >= fence {
			t.Fatalf("the fence is %d after %d (%v)", fence, last, err)
		}
		witness.Incr(ctx, "turns")
		if err := witness.Del(ctx, "inside").Err(); err != nil {
			t.Fatal(err)
		}
		if ok, err := front.Unlock(ctx, "job", token); err != nil || !ok {
			t.Fatalf("Unlock: %v %v", ok, err)
		}
	}
}

// redisInt is the number that was there, 0 for none.
func redisInt(text string, err error) (int64, error) {
	if errors.Is(err, goredis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}
