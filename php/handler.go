package php

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// ServeHTTP lets a worker answer the request. The body is read first, into memory or to disk, so that a slow client never holds
// a worker while it sends.
func (p *Pool) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handle(w, r, "") }

// handle is ServeHTTP for requests of a route.
func (p *Pool) handle(w http.ResponseWriter, r *http.Request, route string) {
	if !p.ready.Load() {
		p.refuse(w, ErrStopped)
		return
	}
	j := getJob(p.dialect())
	j.flow = p.flowOf(r, route)
	if p.opts.Traced {
		j.serves = r.Context()
	}
	if err := p.serve(w, r, j); err != nil {
		if p.cfg.Debug {
			p.explainInBrowser(w, r, err)
			return
		}
		p.refuse(w, err)
	}
}

// serve answers the request, or returns why there is no answer. It owns j and puts it back.
func (p *Pool) serve(w http.ResponseWriter, r *http.Request, j *job) error {
	defer p.putJob(j)
	f, err := p.fill(r, j)
	if err != nil {
		return err
	}
	if f.files != nil {
		defer f.removeFiles()
	}
	if err := p.submit(r.Context(), j); err != nil {
		return err
	}
	if j.err != nil {
		return j.err
	}
	if j.stream != nil {
		err = p.passStream(w, r, j)
	} else {
		err = p.writeAnswer(w, r, j)
	}
	if errors.Is(err, ErrBadAnswer) {
		p.log.Error("php answer refused", "pool", p.name, "pid", j.pid, "error", err)
	}
	return err
}

// putJob takes a job back with what is left of its answer.
func (p *Pool) putJob(j *job) {
	if j.rest != nil {
		p.rests.put(j.rest)
		j.rest = nil
	}
	putJob(j)
}

// refuse answers a request that PHP did not. What went wrong is in the log, not in the answer.
func (p *Pool) refuse(w http.ResponseWriter, err error) {
	status := statusFor(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if p.cfg.ErrorStatus != 0 && status >= http.StatusInternalServerError {
		w.WriteHeader(p.cfg.ErrorStatus) // without a body, as RoadRunner's clients know it
		return
	}
	http.Error(w, http.StatusText(status), status)
}

// fill puts context and body into the job. How large a body may be at all is for an http.MaxBytesReader around it to say.
func (p *Pool) fill(r *http.Request, j *job) (form, error) {
	if !validHost(hostOf(r)) {
		return form{}, errBadHost
	}
	if p.cfg.Mode == modeClassic {
		return form{}, p.fillClassic(r, j)
	}
	contentType := r.Header.Get("Content-Type")
	native := j.dialect == speaksNative // by PHP's rules: every method may have a body
	switch {
	case !native && (r.Method == http.MethodHead || r.Method == http.MethodOptions):
		discardBody(r)
		j.setContext(r, false, nil)
		return form{}, nil
	case p.cfg.Body.Raw:
	case strings.Contains(contentType, "application/x-www-form-urlencoded"):
		if native {
			return form{}, fillRawForm(r, j)
		}
		f, err := readURLEncoded(r)
		return f, p.fillForm(r, j, f, err)
	case strings.Contains(contentType, "multipart/form-data"):
		if hasFormBody(r.Method) {
			f, err := p.readMultipart(r)
			return f, p.fillForm(r, j, f, err)
		}
		if !native {
			discardBody(r)
			return form{}, p.fillForm(r, j, form{}, nil)
		}
	}
	j.setContext(r, false, nil)
	if r.Body == nil || r.Body == http.NoBody {
		return form{}, nil
	}
	return form{}, p.fillBody(r, j)
}

// fillRawForm leaves a form as it came to sdk/php: PHP's own parser costs no more there, and applications that check a signature
// need the bytes.
func fillRawForm(r *http.Request, j *job) error {
	body, err := readForm(r)
	if err != nil {
		return err
	}
	j.setContext(r, false, nil)
	j.source.rawForm = len(body) > 0
	j.buf = append(j.buf, body...)
	return nil
}

func (p *Pool) fillForm(r *http.Request, j *job, f form, err error) error {
	if err != nil {
		return err
	}
	body := f.body
	j.source = contextOf{request: r, parsed: true, uploads: f.uploads, parts: f.parts}
	if f.parts != nil {
		if body, err = j.source.render(j.dialect); err != nil {
			f.removeFiles()
			return err
		}
	}
	j.writeContext()
	j.buf = j.dialect.appendBody(j.buf, body, true)
	return nil
}

// minRead is how much room a read gets at least.
const minRead = 512

// fillBody reads the body behind the context. The buffer grows with what arrives, not with what the client announces; past
// body.memory all of it moves to disk.
func (p *Pool) fillBody(r *http.Request, j *job) error {
	start, limit := len(j.buf), int(p.cfg.Body.Memory)
	for len(j.buf)-start <= limit {
		if cap(j.buf)-len(j.buf) < minRead {
			size := 2 * cap(j.buf)
			if whole := int64(start) + r.ContentLength + minRead; whole > int64(cap(j.buf)) && whole < int64(size) {
				size = int(whole) // the last step is no larger than it has to be: the buffer stays with the job
			}
			grown := make([]byte, len(j.buf), size)
			copy(grown, j.buf)
			j.buf = grown
		}
		n, err := r.Body.Read(j.buf[len(j.buf):cap(j.buf)])
		j.buf = j.buf[:len(j.buf)+n]
		if err == io.EOF && len(j.buf)-start <= limit {
			return nil
		}
		if err != nil && err != io.EOF {
			return bodyError(err)
		}
	}
	return p.spoolBody(r, j, start)
}

// spoolBody moves a body that is too large for memory to a file.
func (p *Pool) spoolBody(r *http.Request, j *job, start int) error {
	file, err := p.temp.create("", "body")
	if err != nil {
		return fmt.Errorf("store the request body: %w", err)
	}
	j.file = file
	n, err := file.Write(j.buf[start:])
	if err != nil {
		return fmt.Errorf("store the request body: %w", err)
	}
	j.buf = append(make([]byte, 0, start+256), j.buf[:start]...) // the large one is of no use while the rest comes
	size, readErr, writeErr := spool(file, r.Body)
	if readErr != nil {
		return bodyError(readErr)
	}
	if writeErr != nil {
		return fmt.Errorf("store the request body: %w", writeErr)
	}
	j.fileSize = int64(n) + size
	return nil
}
