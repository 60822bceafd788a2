package lock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Call is lock.v1beta1.Request, the argument of every method. TTL and wait are in microseconds.
type Call struct {
	Resource string `json:"resource"`
	ID       string `json:"id"`
	TTL      int64  `json:"ttl"`
	Wait     int64  `json:"wait"`
}

// Answer is lock.v1beta1.Response, with the token of a grant beside it.
type Answer struct {
	OK    bool  `json:"ok"`
	Token int64 `json:"token,omitempty"`
}

// Times of RoadRunner: what 0 means.
const (
	defaultTTL  = 365 * 24 * time.Hour
	defaultWait = time.Millisecond
	maxTime     = 10 * defaultTTL
	maxName     = 4 << 10
)

var (
	errNoID     = errors.New("empty ID is not allowed")
	errNegative = errors.New("ttl and wait are microseconds and must not be negative")
)

// Service answers the lock.* methods. It has the shape of rpc.Handler.
type Service struct{ locks Locks }

// NewService returns the RPC face of locks.
func NewService(locks Locks) *Service { return &Service{locks} }

// methods by name.
var methods = map[string]func(s *Service, ctx context.Context, c *Call) (Answer, error){
	"Lock":         func(s *Service, ctx context.Context, c *Call) (Answer, error) { return s.acquire(ctx, c, false) },
	"LockRead":     func(s *Service, ctx context.Context, c *Call) (Answer, error) { return s.acquire(ctx, c, true) },
	"Release":      (*Service).release,
	"ForceRelease": (*Service).forceRelease,
	"Exists":       (*Service).exists,
	"UpdateTTL":    (*Service).updateTTL,
}

// NewRequest returns an argument.
func (s *Service) NewRequest(method string) (any, bool) {
	_, ok := methods[method]
	return new(Call), ok
}

// Call runs a method.
func (s *Service) Call(ctx context.Context, method string, request any) (any, error) {
	c := request.(*Call)
	if err := c.check(method != "ForceRelease"); err != nil {
		return nil, err
	}
	answer, err := methods[method](s, ctx, c)
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", c.Resource, err)
	}
	return &answer, nil
}

func (c *Call) check(needsID bool) error {
	switch {
	case needsID && c.ID == "":
		return errNoID
	case c.TTL < 0 || c.Wait < 0:
		return errNegative
	case len(c.Resource) > maxName || len(c.ID) > maxName:
		return fmt.Errorf("resource and id of a lock have at most %d bytes", maxName)
	}
	return nil
}

func (s *Service) acquire(ctx context.Context, c *Call, shared bool) (Answer, error) {
	r := Request{Resource: c.Resource, ID: c.ID, Shared: shared, TTL: micros(c.TTL, defaultTTL), Wait: micros(c.Wait, defaultWait)}
	token, err := s.locks.Acquire(ctx, r)
	return Answer{OK: token != 0, Token: token}, err
}

func (s *Service) release(ctx context.Context, c *Call) (Answer, error) {
	ok, err := s.locks.Release(ctx, c.Resource, c.ID)
	return Answer{OK: ok}, err
}

func (s *Service) forceRelease(ctx context.Context, c *Call) (Answer, error) {
	ok, err := s.locks.ForceRelease(ctx, c.Resource)
	return Answer{OK: ok}, err
}

func (s *Service) exists(ctx context.Context, c *Call) (Answer, error) {
	ok, err := s.locks.Exists(ctx, c.Resource, c.ID)
	return Answer{OK: ok}, err
}

func (s *Service) updateTTL(ctx context.Context, c *Call) (Answer, error) {
	ok, err := s.locks.UpdateTTL(ctx, c.Resource, c.ID, micros(c.TTL, defaultTTL))
	return Answer{OK: ok}, err
}

// micros is a number of microseconds as a time; 0 is the default.
func micros(n int64, otherwise time.Duration) time.Duration {
	if n == 0 {
		return otherwise
	}
	if n > math.MaxInt64/1000 {
		return maxTime
	}
	return min(time.Duration(n)*time.Microsecond, maxTime)
}

// Fields of lock.v1beta1: Request {1: resource, 2: id, 3: ttl, 4: wait}, Response {1: ok}. Edge's answer has 2: token.
const (
	fieldResource = 1
	fieldID       = 2
	fieldTTL      = 3
	fieldWait     = 4
	fieldOK       = 1
	fieldToken    = 2
)

// ParseProto decodes data over what c holds.
func (c *Call) ParseProto(data []byte) error {
	return fields(data, func(num protowire.Number, text string, n int64) {
		switch num {
		case fieldResource:
			c.Resource = text
		case fieldID:
			c.ID = text
		case fieldTTL:
			c.TTL = n
		case fieldWait:
			c.Wait = n
		}
	}, fieldResource, fieldID)
}

// AppendProto appends the encoded message to dst.
func (c *Call) AppendProto(dst []byte) []byte {
	dst = appendText(appendText(dst, fieldResource, c.Resource), fieldID, c.ID)
	return appendNumber(appendNumber(dst, fieldTTL, c.TTL), fieldWait, c.Wait)
}

// ParseProto decodes data over what a holds.
func (a *Answer) ParseProto(data []byte) error {
	return fields(data, func(num protowire.Number, _ string, n int64) {
		switch num {
		case fieldOK:
			a.OK = n != 0
		case fieldToken:
			a.Token = n
		}
	})
}

// AppendProto appends the encoded message to dst.
func (a *Answer) AppendProto(dst []byte) []byte {
	if a.OK {
		dst = appendNumber(dst, fieldOK, 1)
	}
	return appendNumber(dst, fieldToken, a.Token)
}

func appendText(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func appendNumber(dst []byte, num protowire.Number, n int64) []byte {
	if n == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), uint64(n))
}

var errUTF8 = errors.New("string field contains invalid UTF-8")

// fields calls each for every text of texts and every number that is not one of them; what has another type is skipped.
func fields(data []byte, each func(num protowire.Number, text string, n int64), texts ...protowire.Number) error {
	for len(data) > 0 {
		num, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		isText := false
		for _, t := range texts {
			isText = isText || t == num
		}
		switch {
		case kind == protowire.BytesType && isText:
			v, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if !utf8.Valid(v) {
				return errUTF8
			}
			each(num, string(v), 0)
			data = data[n:]
		case kind == protowire.VarintType && !isText:
			v, n := protowire.ConsumeVarint(data)
			if n < 0 {
				return protowire.ParseError(n)
			}
			each(num, "", int64(v))
			data = data[n:]
		default:
			if n = protowire.ConsumeFieldValue(num, kind, data); n < 0 {
				return protowire.ParseError(n)
			}
			data = data[n:]
		}
	}
	return nil
}
