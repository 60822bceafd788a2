package php

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	uploadNoTempDir = 6
	uploadCantWrite = 7
	uploadForbidden = 8
)

// form is a parsed body: the two JSON trees PHP gets, and the files to remove afterwards.
type form struct {
	body    []byte
	uploads []byte
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
	if !hasFormBody(r.Method) {
		discardBody(r)
		return nil, nil
	}
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

// readMultipart parses a multipart body. Files go straight to disk.
func (p *Pool) readMultipart(r *http.Request) (f form, err error) {
	if !hasFormBody(r.Method) {
		discardBody(r)
		return form{}, nil
	}
	defer func() {
		if err != nil {
			f.removeFiles()
		}
	}()
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return f, fmt.Errorf("%w: multipart without a boundary", ErrBadRequest)
	}

	parts := multipart.NewReader(r.Body, params["boundary"])
	values, files := newTree(), newTree()
	left := int64(maxForm)
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return f, bodyError(err)
		}
		if n == maxParts {
			return f, fmt.Errorf("%w: more than %d parts", ErrTooLarge, maxParts)
		}
		name := part.FormName()
		if name == "" {
			continue
		}
		if part.FileName() != "" {
			if n := len(f.files); n == maxFiles {
				return f, fmt.Errorf("%w: more than %d files", ErrTooLarge, n)
			}
			json, err := p.saveUpload(&f, part)
			if err != nil {
				return f, err
			}
			if err := files.addFile(name, json); err != nil {
				return f, err
			}
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return f, bodyError(err)
		}
		if left -= int64(len(value) + len(name)); left < 0 {
			return f, fmt.Errorf("%w: form fields of more than %d bytes", ErrTooLarge, maxForm)
		}
		if err := values.addValue(name, string(value)); err != nil {
			return f, err
		}
	}
	f.body, f.uploads = values.appendJSON(nil), files.appendJSON(nil)
	return f, nil
}

// saveUpload writes an uploaded file to disk and returns its description for PHP. Only what the client did wrong is an error;
// what went wrong here is for PHP to see in the description.
func (p *Pool) saveUpload(f *form, part *multipart.Part) (string, error) {
	if !p.cfg.Uploads.accepts(part.FileName()) {
		return describeUpload(part, 0, uploadForbidden, ""), nil
	}
	file, err := p.temp.create(p.cfg.Uploads.Dir, "upload")
	if err != nil {
		p.log.Error("cannot store an uploaded file", "pool", p.name, "error", err)
		return describeUpload(part, 0, uploadNoTempDir, ""), nil
	}
	f.files = append(f.files, file.Name())

	size, readErr, writeErr := spool(file, part)
	if err := file.Close(); writeErr == nil {
		writeErr = err
	}
	if readErr != nil {
		return "", bodyError(readErr)
	}
	if writeErr != nil {
		p.log.Error("cannot store an uploaded file", "pool", p.name, "error", writeErr)
		return describeUpload(part, 0, uploadCantWrite, ""), nil
	}
	return describeUpload(part, size, uploadOK, file.Name()), nil
}

func describeUpload(part *multipart.Part, size int64, code int, path string) string {
	b := []byte(`{"name":`)
	b = appendJSONString(b, part.FileName())
	b = append(b, `,"mime":`...)
	b = appendJSONString(b, part.Header.Get("Content-Type"))
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, size, 10)
	b = append(b, `,"error":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"tmpName":`...)
	b = appendJSONString(b, path)
	return string(append(b, '}'))
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
