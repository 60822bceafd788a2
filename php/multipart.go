package php

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// A multipart body is read into its parts, in the order in which they came. What becomes of them depends on who reads them:
//
//   - RoadRunner's workers get two JSON trees, of fields and of files, by RoadRunner's rules (tree.go). A file field that was left
//     empty is a text field there.
//   - sdk/php gets the fields written as a urlencoded form and the files as a list, and has PHP's own parser make trees of both: PHP's
//     rules for names are PHP's.

// formPart is a field of a multipart body, or a file.
type formPart struct {
	name, value string
	file        *upload // nil for a field
	left        bool    // it is a file field that was left empty: file for PHP, value for RoadRunner
}

// upload is a file of a form as PHP gets to know it.
type upload struct {
	name, mime, path string
	size             int64
	code             int
}

// readMultipart reads a multipart body. Files go straight to disk.
func (p *Pool) readMultipart(r *http.Request) (f form, err error) {
	defer func() {
		if err != nil {
			f.removeFiles()
		}
	}()
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return f, fmt.Errorf("%w: multipart without a boundary", ErrBadRequest)
	}
	body := multipart.NewReader(r.Body, params["boundary"])
	left := int64(maxForm)
	for n := 0; ; n++ {
		part, err := body.NextPart()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return f, bodyError(err)
		}
		if n == maxParts {
			return f, fmt.Errorf("%w: more than %d parts", ErrTooLarge, maxParts)
		}
		if err := p.readPart(&f, part, &left); err != nil {
			return f, err
		}
	}
}

// readPart reads one part. left is how much of the fields there may be yet.
func (p *Pool) readPart(f *form, part *multipart.Part, left *int64) error {
	name := part.FormName()
	if name == "" {
		return nil
	}
	if part.FileName() != "" {
		if n := len(f.files); n == maxFiles {
			return fmt.Errorf("%w: more than %d files", ErrTooLarge, n)
		}
		file, err := p.saveUpload(f, part)
		if err != nil {
			return err
		}
		f.parts = append(f.parts, formPart{name: name, file: file})
		return nil
	}
	value, err := io.ReadAll(io.LimitReader(part, *left+1))
	if err != nil {
		return bodyError(err)
	}
	if *left -= int64(len(value) + len(name)); *left < 0 {
		return fmt.Errorf("%w: form fields of more than %d bytes", ErrTooLarge, maxForm)
	}
	field := formPart{name: name, value: string(value)}
	if _, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition")); err == nil {
		if _, field.left = params["filename"]; field.left {
			field.file = &upload{code: uploadNoFile}
		}
	}
	f.parts = append(f.parts, field)
	return nil
}

// saveUpload writes an uploaded file to disk and describes it for PHP. Only what the client did wrong is an error; what went wrong
// here is for PHP to see in the description.
func (p *Pool) saveUpload(f *form, part *multipart.Part) (*upload, error) {
	u := &upload{name: part.FileName(), mime: part.Header.Get("Content-Type")}
	if !p.cfg.Uploads.accepts(u.name) {
		u.code = uploadForbidden
		return u, nil
	}
	file, err := p.temp.create(p.cfg.Uploads.Dir, "upload")
	if err != nil {
		p.log.Error("cannot store an uploaded file", "pool", p.name, "error", err)
		u.code = uploadNoTempDir
		return u, nil
	}
	f.files = append(f.files, file.Name())

	size, readErr, writeErr := spool(file, part)
	if err := file.Close(); writeErr == nil {
		writeErr = err
	}
	if readErr != nil {
		return nil, bodyError(readErr)
	}
	if writeErr != nil {
		p.log.Error("cannot store an uploaded file", "pool", p.name, "error", writeErr)
		u.code = uploadCantWrite
		return u, nil
	}
	u.size, u.path = size, file.Name()
	return u, nil
}

// trees makes the two JSON trees of RoadRunner's protocol. With an error they have what came before it.
func trees(parts []formPart) (body, uploads []byte, err error) {
	values, files := newTree(), newTree()
	for _, part := range parts {
		if part.file != nil && !part.left {
			err = files.addFile(part.name, part.file.json())
		} else {
			err = values.addValue(part.name, part.value)
		}
		if err != nil {
			break
		}
	}
	return values.appendJSON(nil), files.appendJSON(nil), err
}

func (u *upload) json() string {
	b := []byte(`{"name":`)
	b = appendJSONString(b, u.name)
	b = append(b, `,"mime":`...)
	b = appendJSONString(b, u.mime)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, u.size, 10)
	b = append(b, `,"error":`...)
	b = strconv.AppendInt(b, int64(u.code), 10)
	b = append(b, `,"tmpName":`...)
	b = appendJSONString(b, u.path)
	return string(append(b, '}'))
}

// nativeParts makes what sdk/php gets: the fields as a urlencoded form, and the files as a serialized list of lists of the field's
// name, the file's name, type, size, error and path, or nothing.
func nativeParts(parts []formPart) (body, uploads []byte) {
	n := 0
	for _, part := range parts {
		if part.file != nil {
			n++
			continue
		}
		if len(body) > 0 {
			body = append(body, '&')
		}
		body = append(appendFormText(body, part.name), '=')
		body = appendFormText(body, part.value)
	}
	if n == 0 {
		return body, nil
	}
	uploads = appendPHPArray(nil, n)
	i := 0
	for _, part := range parts {
		u := part.file
		if u == nil {
			continue
		}
		uploads = append(strconv.AppendInt(append(uploads, "i:"...), int64(i), 10), ";a:6:{i:0;"...)
		uploads = append(appendPHPString(uploads, part.name), "i:1;"...)
		// Some browsers sent the path on the visitor's disk. PHP keeps what is behind the last slash of either kind.
		uploads = append(appendPHPString(uploads, u.name[strings.LastIndexByte(u.name, '\\')+1:]), "i:2;"...)
		uploads = append(appendPHPString(uploads, u.mime), "i:3;"...)
		uploads = append(appendPHPString(uploads, strconv.FormatInt(u.size, 10)), "i:4;"...)
		uploads = append(appendPHPString(uploads, strconv.Itoa(u.code)), "i:5;"...)
		uploads = append(appendPHPString(uploads, u.path), '}')
		i++
	}
	return body, append(uploads, '}')
}

// appendFormText escapes of a text what has a meaning in a form; all else may stand there as it is.
func appendFormText(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; c {
		case '%', '+', '&', '=', ';', 0:
			b = append(b, '%', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}
