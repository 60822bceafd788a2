package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// KVClient talks to one store.
type KVClient struct {
	c    *Client
	name string
}

// KV is a store of the server.
func (c *Client) KV(store string) KVClient { return KVClient{c, store} }

// KVStores lists the stores.
func (c *Client) KVStores(ctx context.Context) (list []KVStore, err error) {
	return list, c.do(ctx, http.MethodGet, "/kv", &list)
}

// Get returns a value; its Found is false when the key is not there.
func (s KVClient) Get(ctx context.Context, key string) (item KVItem, err error) {
	item.Key = key
	res, err := s.send(ctx, http.MethodGet, "value", url.Values{"key": {key}}, nil)
	if isMissing(err) {
		return item, nil
	}
	if err != nil {
		return item, err
	}
	defer res.Body.Close()
	if item.Value, err = io.ReadAll(res.Body); err != nil {
		return item, fmt.Errorf("read the value of %q: %w", key, err)
	}
	item.Found = true
	item.Expires, _ = time.Parse(time.RFC3339, res.Header.Get(expiresHeader))
	return item, nil
}

// Set stores a value until expires; the zero time means for ever.
func (s KVClient) Set(ctx context.Context, item KVItem) error {
	return s.answer(ctx, http.MethodPut, "value", withExpiry(url.Values{"key": {item.Key}}, item.Expires), bytes.NewReader(item.Value), nil)
}

// Add is Set for a key that is not there; it reports false when it is.
func (s KVClient) Add(ctx context.Context, item KVItem) (stored bool, err error) {
	query := withExpiry(url.Values{"key": {item.Key}, "add": {"true"}}, item.Expires)
	err = s.answer(ctx, http.MethodPut, "value", query, bytes.NewReader(item.Value), nil)
	if hasStatus(err, http.StatusConflict) {
		return false, nil
	}
	return err == nil, err
}

// TTL returns a deadline.
func (s KVClient) TTL(ctx context.Context, key string) (item KVItem, err error) {
	var body struct {
		Expires time.Time `json:"expires"`
	}
	item.Key = key
	err = s.answer(ctx, http.MethodGet, "ttl", url.Values{"key": {key}}, nil, &body)
	if isMissing(err) {
		return item, nil
	}
	item.Expires, item.Found = body.Expires, err == nil
	return item, err
}

// Expire moves a deadline; the zero time takes it away.
func (s KVClient) Expire(ctx context.Context, key string, expires time.Time) (found bool, err error) {
	err = s.answer(ctx, http.MethodPost, "ttl", withExpiry(url.Values{"key": {key}}, expires), nil, nil)
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// Delete removes keys and returns how many were there, as far as the driver knows.
func (s KVClient) Delete(ctx context.Context, keys []string) (deleted int, err error) {
	var body struct {
		Deleted int `json:"deleted"`
	}
	err = s.answer(ctx, http.MethodDelete, "value", url.Values{"key": keys}, nil, &body)
	return body.Deleted, err
}

// Clear removes every key.
func (s KVClient) Clear(ctx context.Context) error {
	return s.answer(ctx, http.MethodPost, "clear", nil, nil, nil)
}

// Keys returns a page of keys.
func (s KVClient) Keys(ctx context.Context, prefix, cursor string, limit int) (page KVPage, err error) {
	query := url.Values{"prefix": {prefix}, "cursor": {cursor}, "limit": {strconv.Itoa(limit)}}
	return page, s.answer(ctx, http.MethodGet, "keys", query, nil, &page)
}

// Compact makes the file of the store smaller.
func (s KVClient) Compact(ctx context.Context) (result KVCompaction, err error) {
	return result, s.answer(ctx, http.MethodPost, "compact", nil, nil, &result)
}

// Export writes lines to out and returns how many keys there were, and how many of them could not be read.
func (s KVClient) Export(ctx context.Context, prefix string, out io.Writer) (keys, damaged int64, err error) {
	res, err := s.send(ctx, http.MethodGet, "export", url.Values{"prefix": {prefix}}, nil)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(io.TeeReader(res.Body, out))
	for {
		var line KVLine
		switch err := lines.Decode(&line); {
		case err != nil:
			return keys, damaged, fmt.Errorf("the export broke off after %d keys: %w", keys, err)
		case line.End != nil:
			_, err := io.Copy(io.Discard, io.TeeReader(res.Body, out)) // the rest of the last line
			return keys, damaged, err
		case line.KVKey == nil && line.Error != "":
			return keys, damaged, fmt.Errorf("the export broke off after %d keys: %s", keys, line.Error)
		case line.KVKey != nil:
			keys++
			if line.Error != "" {
				damaged++
			}
		}
	}
}

// Import stores the lines of an export.
func (s KVClient) Import(ctx context.Context, lines io.Reader) (done KVImport, err error) {
	return done, s.answer(ctx, http.MethodPost, "import", nil, lines, &done)
}

func withExpiry(query url.Values, expires time.Time) url.Values {
	if end := formatDeadline(expires); end != "" {
		query.Set("expires", end)
	}
	return query
}

// answer decodes the answer into into, unless that is nil.
func (s KVClient) answer(ctx context.Context, method, what string, query url.Values, body io.Reader, into any) error {
	res, err := s.send(ctx, method, what, query, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if into == nil {
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// send returns the response of a request that was answered with 200. An operator can interrupt what takes long; nothing else does.
func (s KVClient) send(ctx context.Context, method, what string, query url.Values, body io.Reader) (*http.Response, error) {
	path := "/kv/" + url.PathEscape(s.name) + "/" + what
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, s.c.base+path, body)
	if err != nil {
		return nil, err
	}
	res, err := s.c.roundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	return nil, &KVError{Status: res.StatusCode, Err: problem(text, fmt.Sprintf("%s %s answered %s", method, path, res.Status))}
}

func hasStatus(err error, status int) bool {
	var known *KVError
	return errors.As(err, &known) && known.Status == status
}

// isMissing reports that the key is not there. A store that is not there is another status.
func isMissing(err error) bool { return hasStatus(err, http.StatusNotFound) }
