package mercure

import (
	"regexp"
	"strings"
	"sync"
)

// selector says which topics are meant.
type selector struct {
	text    string
	kind    matchType
	all     bool           // "*"
	re      *regexp.Regexp // of a template
	prefix  string         // what every topic that re matches begins with
	pattern *urlPattern
	cost    int // about the memory of what was compiled
}

// matchType is how the text of a selector is read. Protocol 0 has one way, which is exact and URI template in one; protocol 1 names them.
type matchType string

const (
	matchSelector matchType = "" // protocol 0
	matchExact    matchType = "exact"
	matchURL      matchType = "urlpattern"
)

// matches is the question of the hot path: nothing is allocated.
func (s *selector) matches(topic string) bool {
	switch {
	case s.all:
		return true
	case s.pattern != nil:
		return s.pattern.matches(topic)
	case s.text == topic:
		return true
	case s.re == nil:
		return false
	}
	return strings.HasPrefix(topic, s.prefix) && s.re.MatchString(topic)
}

// literal reports whether the selector means the one topic that it spells.
func (s *selector) literal() bool { return !s.all && s.re == nil && s.pattern == nil }

func (s *selector) matchesAny(topics []string) bool {
	for _, t := range topics {
		if s.matches(t) {
			return true
		}
	}
	return false
}

func anyMatches(list []*selector, topics []string) bool {
	for _, s := range list {
		if s.matchesAny(topics) {
			return true
		}
	}
	return false
}

// selectorCache keeps what was compiled: thousands of clients listen to a few templates. It is emptied when it is full, which costs
// those who come next a compilation.
type selectorCache struct {
	base  *hubURL // of protocol 1
	mu    sync.RWMutex
	known map[selectorKey]*selector
	cost  int
}

type selectorKey struct {
	kind matchType
	text string
}

// maxCacheCost bounds the cache, maxSelectorCost what one client may have compiled.
const (
	maxCacheCost    = 4 << 20
	maxSelectorCost = 64 << 10
)

// parse never fails for protocol 0: what is no template is a topic.
func (c *selectorCache) parse(kind matchType, text string) (*selector, error) {
	key := selectorKey{kind, text}
	if text == "*" {
		return &selector{text: text, kind: kind, all: true}, nil
	}
	if kind == matchExact || kind == matchSelector && !strings.Contains(text, "{") {
		return &selector{text: text, kind: kind}, nil
	}
	c.mu.RLock()
	s := c.known[key]
	c.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s = &selector{text: text, kind: kind}
	var err error
	if kind == matchURL {
		s.pattern, s.cost, err = parseURLPattern(text, c.base)
	} else if re, prefix, cost, bad := compileTemplate(text); bad == nil {
		s.re, s.prefix, s.cost = re, prefix, cost
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || c.cost > maxCacheCost {
		c.known, c.cost = map[selectorKey]*selector{}, 0
	}
	c.known[key] = s
	c.cost += s.cost + len(text)
	return s, nil
}
