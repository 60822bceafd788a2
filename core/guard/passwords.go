package guard

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// HashCost is what `edge passwd` makes hashes with: checking one takes about a tenth of a second, which is paid once for each password.
const HashCost = 10

// maxPassword is as much of a password as bcrypt looks at.
const maxPassword = 72

// HashPassword is what goes into users in place of the password.
func HashPassword(password string, cost int) (string, error) {
	switch {
	case password == "":
		return "", errors.New("an empty password")
	case len(password) > maxPassword:
		return "", fmt.Errorf("a password of %d bytes: bcrypt looks at %d only", len(password), maxPassword)
	case cost < bcrypt.MinCost || cost > maxCost:
		return "", fmt.Errorf("a cost of %d: it must be between %d and %d", cost, bcrypt.MinCost, maxCost)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	return string(hash), err
}

// maxCost is more than a minute on any machine.
const maxCost = 20

// hashLength is that of bcrypt's.
const hashLength = 60

// plainPrefix marks a password that is not hashed.
const plainPrefix = "plain:"

// secret is what is known of a password.
type secret struct {
	hash  []byte // of bcrypt
	plain string // without
}

func parseSecret(text string) (secret, error) {
	if plain, ok := strings.CutPrefix(text, plainPrefix); ok {
		if plain == "" {
			return secret{}, errors.New("there is no password behind plain:")
		}
		return secret{plain: plain}, nil
	}
	cost, err := bcrypt.Cost([]byte(text))
	if len(text) != hashLength {
		err = bcrypt.ErrHashTooShort
	}
	switch {
	case err != nil && strings.HasPrefix(text, "$apr1$"), err != nil && strings.HasPrefix(text, "{SHA}"):
		return secret{}, errors.New("MD5 and SHA-1 are too quick to guess: make the hash with `edge passwd` or `htpasswd -B`")
	case err != nil:
		return secret{}, errors.New("this is no hash of bcrypt: make one with `edge passwd`, or write plain: before a password")
	case cost > maxCost:
		return secret{}, fmt.Errorf("a cost of %d would keep the server busy for minutes: make the hash with %d at most", cost, maxCost)
	}
	return secret{hash: []byte(text)}, nil
}

// passwords are those of some users. A hash takes long to check, on purpose; so what was right is remembered, by a MAC under a key that
// only this process knows, and so is some of what was wrong.
type passwords struct {
	key   [32]byte
	users map[string]*user
	decoy secret // what the passwords of users who are not there are checked with, so that time does not tell who is

	checks  chan struct{} // as many hashes are checked at once
	waiting atomic.Int32
	checked atomic.Uint64

	mu    sync.Mutex // guards wrong
	wrong map[[32]byte]struct{}
}

type user struct {
	secret secret
	right  atomic.Pointer[[32]byte] // of the password that was right
}

const (
	maxWaitingChecks = 100
	maxWrong         = 4096
)

func newPasswords(users map[string]string, file string) (*passwords, error) {
	p := &passwords{users: map[string]*user{}, wrong: map[[32]byte]struct{}{}, checks: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	if _, err := rand.Read(p.key[:]); err != nil {
		return nil, err
	}
	if file != "" {
		if err := p.readFile(file); err != nil {
			return nil, err
		}
	}
	for name, text := range users {
		s, err := parseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("users.%s: %w", name, err)
		}
		p.users[name] = &user{secret: s}
	}
	return p, p.makeDecoy()
}

// makeDecoy makes a hash that no password has, of the largest cost.
func (p *passwords) makeDecoy() error {
	most := 0
	for _, u := range p.users {
		if cost, err := bcrypt.Cost(u.secret.hash); err == nil {
			most = max(most, cost)
		}
	}
	if most == 0 {
		p.decoy = secret{plain: string(p.key[:])}
		return nil
	}
	// The hash of some password, of which the last character is another then.
	hash := fmt.Appendf(nil, "$2a$%02d$%s", most, strings.Repeat("A", 22)+strings.Repeat("B", 31))
	if _, err := bcrypt.Cost(hash); err != nil {
		return err
	}
	p.decoy = secret{hash: hash}
	return nil
}

// maxPasswordFile bounds a file of users.
const maxPasswordFile = 16 << 20

// readFile reads lines of NAME:HASH. Empty ones, and those that begin with #, are left out.
func (p *passwords) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxPasswordFile {
		return fmt.Errorf("file: %s is not a file of at most 16 MiB", path)
	}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, text, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("file: %s:%d: lines are NAME:HASH", path, n)
		}
		if problem := userProblem(name); problem != "" {
			return fmt.Errorf("file: %s:%d: %s", path, n, problem)
		}
		if strings.HasPrefix(text, plainPrefix) {
			return fmt.Errorf("file: %s:%d: a file has hashes only: make one with `edge passwd`", path, n)
		}
		s, err := parseSecret(text)
		if err != nil {
			return fmt.Errorf("file: %s:%d: %w", path, n, err)
		}
		p.users[name] = &user{secret: s}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("file: %s: %w", path, err)
	}
	return nil
}

// check reports whether the password is that of the user. The error says that nobody had the time to find out.
func (p *passwords) check(ctx context.Context, name, password string) (bool, error) {
	if len(name) > 255 || len(password) > 1024 {
		return false, nil
	}
	mac := p.mac(name, password)
	u := p.users[name]
	if right, known := p.remembered(u, mac); known {
		return right, nil
	}
	secret := p.decoy
	if u != nil {
		secret = u.secret
	}
	if secret.hash != nil {
		if err := p.takeTurn(ctx); err != nil {
			return false, err
		}
		defer func() { <-p.checks }()
		if right, known := p.remembered(u, mac); known { // by now
			return right, nil
		}
	}
	if right := p.compare(name, password, secret); u == nil || !right {
		p.noteWrong(mac)
		return false, nil
	}
	u.right.Store(&mac)
	return true, nil
}

// remembered reports what an earlier check has found. u may be nil.
func (p *passwords) remembered(u *user, mac [32]byte) (right, known bool) {
	if u != nil {
		if right := u.right.Load(); right != nil && hmac.Equal(right[:], mac[:]) {
			return true, true
		}
	}
	return false, p.wasWrong(mac)
}

func (p *passwords) mac(name, password string) (sum [32]byte) {
	h := hmac.New(sha256.New, p.key[:])
	h.Write([]byte(name))
	h.Write([]byte{0}) // which names do not have
	h.Write([]byte(password))
	h.Sum(sum[:0])
	return sum
}

// compare checks a password in the slow way.
func (p *passwords) compare(name, password string, s secret) bool {
	if s.hash == nil {
		want, have := p.mac(name, s.plain), p.mac(name, password)
		return hmac.Equal(want[:], have[:])
	}
	p.checked.Add(1)
	err := bcrypt.CompareHashAndPassword(s.hash, []byte(password[:min(len(password), maxPassword)]))
	return err == nil && len(password) <= maxPassword
}

var errTooManyChecks = errors.New("too many passwords are being checked")

// takeTurn waits until fewer hashes are checked: half of the processors stay free of it.
func (p *passwords) takeTurn(ctx context.Context) error {
	select {
	case p.checks <- struct{}{}:
		return nil
	default:
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaitingChecks {
		return errTooManyChecks
	}
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	select {
	case p.checks <- struct{}{}:
		return nil
	case <-patience.C:
		return errTooManyChecks
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *passwords) wasWrong(mac [32]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.wrong[mac]
	return known
}

func (p *passwords) noteWrong(mac [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.wrong) >= maxWrong {
		clear(p.wrong)
	}
	p.wrong[mac] = struct{}{}
}
