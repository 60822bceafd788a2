package php

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// waiting makes jobs of the flows that the letters name and puts them into the queue.
func waiting(q *queue, flows string) []*job {
	var all []*job
	for _, key := range flows {
		j := &job{flow: string(key), queuedAt: int64(len(all))}
		q.pushBack(j)
		all = append(all, j)
	}
	return all
}

func TestQueueTakesTurns(t *testing.T) {
	t.Parallel()
	var q queue
	all := waiting(&q, "aaaabbc")
	front := &job{flow: "a"}
	q.pushFront(front)
	if q.oldest() != all[0] || q.len != 8 {
		t.Errorf("the oldest is %p of %p, len %d", q.oldest(), all, q.len)
	}
	if j := q.pop(); j != front || j.waiting {
		t.Error("the job that came back is not the first to go")
	}
	var order string
	for j := q.pop(); j != nil; j = q.pop() {
		order += fmt.Sprint(j.flow, slices.Index(all, j), " ")
	}
	if want := "a0 b4 c6 a1 b5 a2 a3 "; order != want {
		t.Errorf("order %q, want %q", order, want)
	}
}

// TestQueueKnowsTheAgeOfWhatCameBack keeps the order of age, which is the order of the deadlines, when older jobs come back.
func TestQueueKnowsTheAgeOfWhatCameBack(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	var q queue
	for now := range int64(2000) {
		switch j := (&job{flow: "a", queuedAt: now}); rnd.IntN(3) {
		case 0:
			q.pushBack(j)
		case 1:
			j.queuedAt -= rnd.Int64N(50)
			q.pushFront(j)
		default:
			q.pop()
		}
		for j := q.first; j != nil; j = j.newer {
			if j.newer != nil && j.newer.queuedAt < j.queuedAt || j.newer == nil && j != q.last {
				t.Fatalf("step %d: a job of %d stands before one of %d", now, j.queuedAt, j.newer.queuedAt)
			}
		}
	}
}

func TestQueueGivesWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		waiting, newcomer string
		gone              int // index of the job that gives way, or -1
	}{
		{"aaab", "c", 2},
		{"aaab", "b", 2},  // 3 and 1 become 2 and 2
		{"aaab", "a", -1}, // its own flow is the longest
		{"aabb", "c", 3},
		{"aab", "b", -1}, // 2 and 1 would only change places
		{"abc", "d", -1},
		{"", "a", -1},
	} {
		var q queue
		all := waiting(&q, c.waiting)
		if got := slices.Index(all, q.giveWay(c.newcomer)); got != c.gone {
			t.Errorf("of %q, job %d gives way to %q, want %d", c.waiting, got, c.newcomer, c.gone)
		}
	}
}

// TestQueueAgainstModel does the same to the queue and to a list that is searched.
func TestQueueAgainstModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var q queue
	var model []*job // by age
	lens := func() map[string]int {
		n := map[string]int{}
		for _, j := range model {
			if j.in != nil {
				n[j.flow]++
			}
		}
		return n
	}
	drop := func(j *job) { model = slices.DeleteFunc(model, func(other *job) bool { return other == j }) }
	for step := range 20_000 {
		switch j := (&job{flow: string(rune('a' + rnd.IntN(6)))}); {
		case rnd.IntN(20) == 0:
			q.pushFront(j)
			model = append(model, j)
		case len(model) < 40 && rnd.IntN(2) == 0:
			q.pushBack(j)
			model = append(model, j)
		case rnd.IntN(4) == 0 && len(model) > 0:
			gone := model[rnd.IntN(len(model))]
			q.remove(gone)
			drop(gone)
		default:
			j := q.pop()
			if (j == nil) != (len(model) == 0) {
				t.Fatalf("step %d: pop gave %v of %d", step, j, len(model))
			}
			drop(j)
		}
		n := lens()
		longest := 0
		for _, l := range n {
			longest = max(longest, l)
		}
		if q.len != len(model) || q.longest != longest || len(q.flows) != len(n) {
			t.Fatalf("step %d: len %d, longest %d, %d flows; want %d, %d, %d", step, q.len, q.longest, len(q.flows), len(model), longest, len(n))
		}
		if len(model) > 0 && q.oldest() != model[0] {
			t.Fatalf("step %d: not the oldest", step)
		}
		if j := q.giveWay("new"); j != nil && (n[j.flow] != longest || j != j.in.jobs.last) {
			t.Fatalf("step %d: a job of a flow of %d gives way, the longest has %d", step, n[j.flow], longest)
		}
	}
}

func TestQueueDoesNotAllocate(t *testing.T) {
	var q queue
	jobs := make([]job, 64)
	round := func() {
		for i := range jobs {
			jobs[i].flow = [...]string{"a", "b", "c"}[i%3]
			q.pushBack(&jobs[i])
		}
		q.giveWay("d")
		for q.pop() != nil {
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for %d jobs", n, len(jobs))
	}
}
