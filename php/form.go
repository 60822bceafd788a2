package php

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// maxForm is the largest form without its files, as in net/http.
	maxForm = 10 << 20
	// maxParts bounds the parts of a multipart body, and maxFiles those that are files: each is a file on disk for a while.
	maxParts = 10_000
	maxFiles = 1000
)

// PHP's codes for what happened to an uploaded file.
const (
	uploadOK        = 0
	uploadNoFile    = 4
	uploadNoTempDir = 6
	uploadCantWrite = 7
	uploadForbidden = 8
)

// form is a parsed body: the two JSON trees PHP gets, or the parts of which they are made, and the files to remove afterwards.
type form struct {
	body    []byte
	uploads []byte
	parts   []formPart // of a multipart body: see multipart.go
	files   []string
}

// removeFiles removes the uploaded files that PHP has not moved.
func (f *form) removeFiles() {
	for _, name := range f.files {
		_ = os.Remove(name) // gone already when PHP moved it
	}
	f.files = nil
}

// hasFormBody reports whether a method's form is parsed; the others get an empty tree.
func hasFormBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// maxDiscard is how much of a body that nobody wants is read, as in net/http.
const maxDiscard = 256 << 10

// discardBody reads what PHP is not given. An answer that overtakes its request resets the stream in HTTP/2, which some clients
// take for a failure.
func discardBody(r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		_, _ = io.CopyN(io.Discard, r.Body, maxDiscard)
	}
}

// readForm reads the body of a form that is not multipart.
func readForm(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if len(body) > maxForm {
		return nil, fmt.Errorf("%w: a form of more than %d bytes", ErrTooLarge, maxForm)
	}
	return body, nil
}

func readURLEncoded(r *http.Request) (form, error) {
	if !hasFormBody(r.Method) {
		discardBody(r)
		return form{}, nil
	}
	body, err := readForm(r)
	if err != nil {
		return form{}, err
	}
	return parseURLEncoded(body)
}

// parseURLEncoded parses name=value&… in the order in which the fields stand. What is badly escaped is taken as it is, as PHP does.
func parseURLEncoded(body []byte) (form, error) {
	t := newTree()
	for field := range strings.SplitSeq(string(body), "&") {
		if field == "" {
			continue
		}
		key, value, _ := strings.Cut(field, "=")
		if err := t.addValue(unescape(key), unescape(value)); err != nil {
			return form{}, err
		}
	}
	return form{body: t.appendJSON(nil)}, nil
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

func (u Uploads) accepts(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	if slices.Contains(u.Forbid, ext) {
		return false
	}
	return len(u.Allow) == 0 || slices.Contains(u.Allow, ext)
}

// bodyError says whether reading a body failed because of its size or because of the client.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, multipart.ErrMessageTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrBadRequest, err)
}
