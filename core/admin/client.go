package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Client talks to the API of a running Edge.
type Client struct {
	http  *http.Client
	base  string
	token string
	where string
}

// NewClient finds the API as the server with this configuration offers it.
func NewClient(cfg Config, stateDir string) (*Client, error) {
	switch cfg.Listen {
	case "off":
		return nil, errors.New("admin.listen is off in edge.yaml: this Edge cannot be asked; set it to unix")
	case "unix":
		path := SocketPath(stateDir)
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, base: "http://admin", where: path}, nil
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, base: "http://" + cfg.Listen, token: cfg.Token, where: cfg.Listen}, nil
}

// Status asks what runs.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.do(ctx, http.MethodGet, "/status", &s)
}

// Workers asks for the PHP workers of every pool.
func (c *Client) Workers(ctx context.Context) (p []Pool, err error) {
	return p, c.do(ctx, http.MethodGet, "/workers", &p)
}

// Plugins asks for the wasm plugins.
func (c *Client) Plugins(ctx context.Context) (p []Plugin, err error) {
	return p, c.do(ctx, http.MethodGet, "/plugins", &p)
}

// Reload makes the server read edge.yaml again; the error is why it refused.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/reload", &struct{}{})
}

func (c *Client) do(ctx context.Context, method, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a reload boots workers
	defer cancel()
	return c.ask(ctx, method, path, nil, into)
}

// ask reads an answer of 200 into what is given. What the server says with another status is a *KVError.
func (c *Client) ask(ctx context.Context, method, path string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	res, err := c.roundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.where, err)
	}
	if res.StatusCode != http.StatusOK {
		path, _, _ = strings.Cut(path, "?")
		return &KVError{Status: res.StatusCode, Err: problem(text, fmt.Sprintf("%s %s answered %s", method, path, res.Status))}
	}
	return json.Unmarshal(text, into)
}

// roundTrip sends a request with the token, and says why nobody answers.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no Edge answers at %s: is `edge serve` running with this edge.yaml? (-c names another)", c.where)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s belongs to another user: run this command as the user that runs `edge serve`", c.where)
	}
	return res, err
}
