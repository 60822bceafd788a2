// Package ui is the page of `edge ui`: what the admin API's GET /overview says, as charts and tables in a browser.
//
// It only looks. The page itself is public and says nothing; what it shows needs a session, which is had for the one-time key in the
// link that `edge ui` prints. Both travel in a header that no other site can make a browser send, and neither is a cookie, which the
// other ports of this machine would get, too. Requests that were meant for another host (DNS rebinding), or that a page of another origin
// makes, are refused before anything else.
package ui

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

//go:embed page.html page.js page.css icon.svg
var files embed.FS

// contents are the files of the page, by path.
var contents = map[string]struct{ file, kind string }{
	"/":         {"page.html", "text/html; charset=utf-8"},
	"/page.js":  {"page.js", "text/javascript; charset=utf-8"},
	"/page.css": {"page.css", "text/css; charset=utf-8"},
	"/icon.svg": {"icon.svg", "image/svg+xml"},
}

// policy lets the page load its own files and ask its own server, and nothing else. Scripts cannot write HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const (
	// maxSessions bounds how many browsers look; the session that was made first ends when there are more.
	maxSessions = 16

	// freshness is how old an answer may be that several browsers share.
	freshness = 200 * time.Millisecond

	// maxConnections bounds what a program of this machine can hold open.
	maxConnections = 64
)

// Look asks the running server for the JSON of its overview.
type Look func(context.Context) (json.RawMessage, error)

// Server serves the page.
type Server struct {
	look Look
	http *http.Server

	mu       sync.Mutex // guards keys and sessions
	keys     []string   // that have not been used yet
	sessions []string   // the oldest first

	looking sync.Mutex // guards what follows; one question at a time
	last    json.RawMessage
	asked   time.Time
}

// New prepares the page.
func New(look Look, log *slog.Logger) *Server {
	s := &Server{look: look}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s
}

// Key makes a key that opens the page once.
func (s *Server) Key() string {
	key := secret()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
	return key
}

// Serve answers connections of l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { s.http.Close() })
	defer stop()
	if err := s.http.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP answers the page, and the questions of its script.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	switch {
	case !isLoopback(r.Host):
		fail(w, http.StatusMisdirectedRequest, "this page answers to localhost, 127.0.0.1 and [::1] only; behind ssh, forward a port: ssh -L 9191:127.0.0.1:9191")
	case fromElsewhere(r):
		fail(w, http.StatusForbidden, "pages of other origins get nothing here")
	case r.URL.Path == "/session" && r.Method == http.MethodPost:
		s.open(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, "this page only looks")
	case r.URL.Path == "/overview":
		s.overview(w, r)
	default:
		c, found := contents[r.URL.Path]
		if !found {
			fail(w, http.StatusNotFound, "there is no such page")
			return
		}
		text, _ := files.ReadFile(c.file) // is embedded
		h.Set("Content-Type", c.kind)
		w.Write(text)
	}
}

// open takes a key for a session.
func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	given := bearer(r)
	s.mu.Lock()
	i := find(s.keys, given)
	session := ""
	if i >= 0 {
		s.keys = append(s.keys[:i], s.keys[i+1:]...)
		session = secret()
		s.sessions = append(s.sessions, session)
		if len(s.sessions) > maxSessions {
			s.sessions = s.sessions[1:]
		}
	}
	s.mu.Unlock()
	if i < 0 {
		fail(w, http.StatusUnauthorized, "this link has been used already, or is of another `edge ui`: start `edge ui` again for a new one")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"session": session})
}

func (s *Server) overview(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	known := find(s.sessions, bearer(r)) >= 0
	s.mu.Unlock()
	if !known {
		fail(w, http.StatusUnauthorized, "open the link that `edge ui` has printed")
		return
	}
	text, err := s.answer(r.Context())
	if err != nil {
		fail(w, http.StatusBadGateway, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

// answer asks the server, unless somebody has just done so.
func (s *Server) answer(ctx context.Context) (json.RawMessage, error) {
	s.looking.Lock()
	defer s.looking.Unlock()
	if time.Since(s.asked) < freshness {
		return s.last, nil
	}
	text, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	s.last, s.asked = text, time.Now()
	return text, nil
}

// find compares with all of a list in the same time, whatever is given.
func find(list []string, given string) int {
	at := -1
	for i, known := range list {
		if subtle.ConstantTimeCompare([]byte(known), []byte(given)) == 1 {
			at = i
		}
	}
	return at
}

func bearer(r *http.Request) string {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return ""
	}
	return token
}

func secret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// isLoopback reports whether a Host header names this machine, whatever the port: it may be forwarded.
func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return name == "localhost" || err == nil && addr.IsLoopback()
}

// fromElsewhere reports whether the browser says that another origin's page made this request. That a link led to the page is fine.
func fromElsewhere(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if origin != "" && origin != "http://"+r.Host {
		return true
	}
	if site == "" || site == "same-origin" || site == "none" {
		return false
	}
	return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": text})
}
