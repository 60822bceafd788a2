package main

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/cron"
	"github.com/edge-server/edge/sdk/go/edge/router"
	"github.com/edge-server/edge/sdk/go/edge/ws"
)

// This file has the kinds and operations of Edge's own namespaces.

func init() {
	edge.CheckConfig(func(config []byte) error {
		if why, ok := strings.CutPrefix(string(config), "refuse="); ok {
			return errors.New(why)
		}
		return nil
	})
	router.Handle(func(r *router.Request) {
		s := script{request: &edge.Request{}, router: r}
		s.run(r.Header().Get("x-route"))
	})
	cron.Handle(0, func(time.Time) {
		for item, err := edge.Pop(); err == nil; item, err = edge.Pop() {
			(&script{}).run(string(item))
		}
	})
	ws.Handle(ws.Handler{Open: opened, Message: message, Close: func(_ ws.Conn, code int) {
		edge.Info("closed " + strconv.Itoa(code))
	}})
}

func opened(c ws.Conn, r *edge.Request) int {
	s := script{request: r, conn: &c}
	s.run(r.Header().Get("x-open"))
	return s.refusal
}

func message(c ws.Conn, m ws.Message) int {
	if m.Binary {
		if c.SendBinary(m.Payload) != nil {
			return 1011
		}
		return 0
	}
	s := script{conn: &c}
	s.run(string(m.Payload))
	if output := s.output(); output != "" {
		c.Send(output)
	}
	if s.closeCode != 0 {
		c.Close(s.closeCode, s.closeReason)
	}
	return 0
}

// edge runs one operation of Edge's own namespaces and reports whether it is one.
func (s *script) edge(name string, arg func(int) string, args int) bool {
	return s.core(name, arg) || s.stores(name, arg, args) || s.elsewhere(name, arg, args) || s.rest(name, arg) ||
		s.routes(name, arg) || s.sockets(name, arg)
}

func (s *script) core(name string, arg func(int) string) bool {
	switch name {
	case "var":
		value, err := edge.Var(arg(1))
		s.textOr(err, value)
	case "set-var":
		s.problem(edge.SetVar(arg(1), arg(2)))
	case "has-import":
		s.truth(edge.Has(arg(1)))
	case "now":
		s.text(strconv.FormatInt(edge.Now().UnixMilli(), 10))
	case "deadline":
		if left, ok := edge.Deadline(); ok {
			s.text(strconv.FormatInt(left.Milliseconds(), 10))
		} else {
			s.text("-1")
		}
	case "flush":
		s.problem(s.answer().Body().Flush())
	case "last-error":
		s.text(edge.LastError())
	default:
		return false
	}
	return true
}

func (s *script) stores(name string, arg func(int) string, args int) bool {
	operation, ok := strings.CutPrefix(name, "kv-")
	if !ok {
		return false
	}
	store, err := edge.OpenStore(arg(1))
	if err != nil {
		s.problem(err)
		return true
	}
	key := arg(2)
	switch operation {
	case "get":
		value, err := store.Get(key)
		s.textOr(err, string(value))
	case "entry":
		e, err := store.Entry(key)
		ttl := e.TTL.Milliseconds()
		if ttl == 0 {
			ttl = -1
		}
		s.listOr(err, string(e.Value), strconv.FormatInt(ttl, 10), strconv.FormatInt(e.Version, 10))
	case "set":
		s.problem(store.Set(key, []byte(arg(3)), how(arg)))
	case "delete":
		s.problem(store.DeleteVersion(key, signed(arg(3))))
	case "expire":
		there, err := store.Expire(key, time.Duration(signed(arg(3)))*time.Millisecond)
		n := "0"
		if there {
			n = "1"
		}
		s.textOr(err, n)
	case "incr":
		n, err := store.Increment(key, signed(arg(3)), time.Duration(signed(arg(4)))*time.Millisecond)
		s.textOr(err, strconv.FormatInt(n, 10))
	case "batch":
		s.batch(store, arg, args)
	case "scan":
		var keys []string
		var failure error
		for key, err := range store.Scan(key, number(arg(3))) {
			if failure = err; err == nil {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		s.listOr(failure, keys...)
	default:
		return false
	}
	return true
}

func how(arg func(int) string) edge.How {
	h := edge.How{TTL: time.Duration(signed(arg(4))) * time.Millisecond}
	for flag := range strings.SplitSeq(arg(5), "+") {
		switch flag {
		case "nx":
			h.IfAbsent = true
		case "xx":
			h.IfPresent = true
		case "version":
			h.IfVersion = signed(arg(6))
		case "keep-ttl":
			h.KeepTTL = true
		}
	}
	return h
}

func (s *script) batch(store *edge.Store, arg func(int) string, args int) {
	var ops []edge.Op
	for i := 2; i < args; i++ {
		switch words := strings.Split(arg(i), " "); words[0] {
		case "get":
			ops = append(ops, edge.GetOp(words[1]))
		case "set":
			ops = append(ops, edge.SetOp(words[1], []byte(words[2]), edge.How{}))
		case "delete":
			ops = append(ops, edge.DeleteOp(words[1]))
		case "incr":
			ops = append(ops, edge.IncrementOp(words[1], signed(words[2]), 0))
		}
	}
	outcomes, err := store.Batch(16<<10, ops...)
	items := make([]string, len(outcomes))
	for i, o := range outcomes {
		kind, _, _ := strings.Cut(arg(i+2), " ")
		switch {
		case o.Err != nil:
			items[i] = "!" + errorName(o.Err)
		case kind == "get":
			items[i] = string(o.Value)
		case kind == "incr":
			items[i] = strconv.FormatInt(o.Number, 10)
		default:
			items[i] = "ok"
		}
	}
	s.listOr(err, items...)
}

func (s *script) elsewhere(name string, arg func(int) string, args int) bool {
	switch name {
	case "http":
		call := edge.Call{Method: arg(1), URL: arg(2), Body: []byte(arg(3))}
		for i := 4; i < args; i++ {
			call.Header = append(call.Header, arg(i))
		}
		status, header, body, err := read(call.Do())
		s.listOr(err, status, header, body)
	case "php":
		status, _, body, err := read((&edge.Call{Method: arg(2), URL: arg(3), Body: []byte(arg(4))}).DoPHP(arg(1)))
		s.listOr(err, status, body)
	case "http-header":
		items, err := header((&edge.Call{URL: arg(1)}).Do())
		s.listOr(err, items...)
	case "php-header":
		items, err := header((&edge.Call{URL: arg(2)}).DoPHP(arg(1)))
		s.listOr(err, items...)
	case "tcp":
		answer, err := talk(arg(1), arg(2))
		s.textOr(err, answer)
	default:
		return false
	}
	return true
}

func read(a *edge.Answer, err error) (status, header, body string, _ error) {
	if err != nil {
		return "", "", "", err
	}
	defer a.Close()
	all, err := io.ReadAll(a)
	return strconv.Itoa(a.Status), a.Get("x-answer"), string(all), err
}

func header(a *edge.Answer, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer a.Close()
	items := slices.DeleteFunc(a.Names(), func(name string) bool { return !strings.HasPrefix(name, "x-s") })
	return append(items, a.Values("x-several")...), nil
}

func talk(address, text string) (string, error) {
	conn, err := edge.Dial(address, 0)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(all), err
}

func (s *script) rest(name string, arg func(int) string) bool {
	switch name {
	case "counter":
		c, err := edge.NewCounter(arg(1))
		s.problem(then(err, func() error { return c.Add(signed(arg(2))) }))
	case "gauge":
		g, err := edge.NewGauge(arg(1))
		s.problem(then(err, func() error { return g.Set(signed(arg(2))) }))
	case "gauge-add":
		g, err := edge.NewGauge(arg(1))
		s.problem(then(err, func() error { return g.Add(signed(arg(2))) }))
	case "histogram":
		h, err := edge.NewHistogram(arg(1))
		s.problem(then(err, func() error { return h.Observe(signed(arg(2))) }))
	case "every":
		s.problem(cron.Every(time.Duration(signed(arg(1))) * time.Millisecond))
	case "push":
		s.problem(edge.Push([]byte(arg(1))))
	case "pop":
		item, err := edge.Pop()
		s.textOr(err, string(item))
	case "publish":
		s.problem(edge.Publish(arg(1), arg(2)))
	default:
		return false
	}
	return true
}

func then(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

func (s *script) routes(name string, arg func(int) string) bool {
	if s.router == nil {
		return false
	}
	switch name {
	case "route-to":
		s.problem(s.router.To(arg(1)))
	case "route-pool":
		s.problem(s.router.Pool(arg(1)))
	case "route-redirect":
		s.problem(s.router.Redirect(number(arg(1)), arg(2)))
	case "route-status":
		s.problem(s.router.Status(number(arg(1))))
	case "route-rewrite":
		s.problem(s.router.Rewrite(arg(1)))
	case "route-cache":
		s.problem(s.router.Cache(arg(1), time.Duration(signed(arg(2)))*time.Millisecond))
	default:
		return false
	}
	return true
}

func (s *script) sockets(name string, arg func(int) string) bool {
	if s.conn == nil {
		return false
	}
	switch name {
	case "ws-send":
		s.problem(s.conn.Send(arg(1)))
	case "ws-subscribe":
		s.problem(s.conn.Subscribe(arg(1)))
	case "ws-unsubscribe":
		s.problem(s.conn.Unsubscribe(arg(1)))
	case "ws-user":
		user, err := s.conn.User()
		s.textOr(err, user)
	case "ws-set-user":
		s.problem(s.conn.SetUser(arg(1)))
	case "ws-get":
		value, err := s.conn.Get(arg(1))
		if err == nil && value == "" {
			err = edge.ErrNotFound
		}
		s.textOr(err, value)
	case "ws-set":
		s.problem(s.conn.Set(arg(1), arg(2)))
	case "ws-close":
		s.closeCode, s.closeReason = number(arg(1)), arg(2)
	default:
		return false
	}
	return true
}

func signed(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func (s *script) problem(err error) {
	if err != nil {
		s.results = append(s.results, "!"+errorName(err))
	}
}

func (s *script) textOr(err error, text string) {
	if err != nil {
		s.problem(err)
		return
	}
	s.text(text)
}

func (s *script) listOr(err error, items ...string) {
	if err != nil {
		s.problem(err)
		return
	}
	s.list(items)
}

func errorName(err error) string {
	for e, name := range map[error]string{
		edge.ErrUnavailable: "unavailable", edge.ErrTimeout: "timeout", edge.ErrInvalid: "invalid", edge.ErrTooLarge: "too-large",
		edge.ErrUnsupported: "unsupported", edge.ErrDenied: "denied", edge.ErrNotFound: "not-found", edge.ErrCondition: "condition",
		edge.ErrExists: "exists", edge.ErrClosed: "closed", edge.ErrLimit: "limit", edge.ErrPhase: "phase",
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	return "internal"
}
