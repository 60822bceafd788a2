package middleware

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/edge-server/edge/core/compress"
	"github.com/edge-server/edge/internal/httprange"
)

// smallFile is up to which size a file is read at once: that is faster than sendfile, and a slow client keeps no file open.
const smallFile = 32 << 10

var smallFiles = sync.Pool{New: func() any { return new([smallFile]byte) }}

// errTooManyOpen means that open_files is reached.
var errTooManyOpen = errors.New("too many files are open")

// found is a file that is served.
type found struct {
	*os.File
	info fs.FileInfo
	name string // below the folder
	path string // the request's, if it alone leads here: such a file may be remembered
}

// send answers with the file, or with one beside it that is compressed as the client likes. An error means that nothing was sent.
func (h *files) send(w http.ResponseWriter, r *http.Request, folder *os.Root, f found) error {
	better, encoding := f, ""
	if len(h.encodings) > 0 {
		if sibling, name, ok := h.sibling(r, folder, f); ok {
			defer sibling.Close()
			better, encoding = sibling, name
		}
	}
	if better.info.Size() > smallFile {
		if !h.acquire() {
			return errTooManyOpen
		}
		defer h.release()
	}
	h.describe(w.Header(), better, encoding)
	answer(w, r, better.File, better.info, func(body []byte) { h.remember(better, body) })
	return nil
}

// describe sets the headers that depend on the name of the file and on its encoding.
func (h *files) describe(header http.Header, f found, encoding string) {
	if control := h.cacheControl(f.name); control != "" {
		header["Cache-Control"] = []string{control}
	}
	if len(h.encodings) > 0 {
		header.Add("Vary", "Accept-Encoding") // whether or not there is a sibling today
	}
	suffix := ""
	if encoding != "" {
		contentType := mime.TypeByExtension(path.Ext(f.name))
		if contentType == "" {
			contentType = "application/octet-stream" // the first compressed bytes do not tell
		}
		header["Content-Type"], header["Content-Encoding"] = []string{contentType}, []string{encoding}
		suffix = "-" + encoding
	}
	if h.etag != "none" {
		header["Etag"] = []string{etag(f.info, h.etag == "weak", suffix)}
	}
}

// sibling opens the file beside f in the encoding that the client likes best, if there is one that is not older.
func (h *files) sibling(r *http.Request, folder *os.Root, f found) (found, string, bool) {
	accept := r.Header["Accept-Encoding"]
	if len(accept) == 0 {
		return found{}, "", false
	}
	offers := make([]string, 0, len(siblings))
	offers = append(offers, h.encodings...)
	for len(offers) > 0 {
		encoding := compress.Choose(accept, offers)
		if encoding == "" {
			break
		}
		file, info, err := openFile(folder, f.name+siblings[encoding])
		if err == nil {
			if !info.IsDir() && !info.ModTime().Before(f.info.ModTime().Add(-siblingSlack)) {
				return found{file, info, f.name, ""}, encoding, true
			}
			file.Close()
		}
		for i := range offers {
			if offers[i] == encoding {
				offers = append(offers[:i], offers[i+1:]...)
				break
			}
		}
	}
	return found{}, "", false
}

// siblingSlack is how much older a compressed file may seem to be: archives keep times to two seconds.
const siblingSlack = 2 * time.Second

func (h *files) acquire() bool {
	if h.large == nil {
		return true
	}
	select {
	case h.large <- struct{}{}:
		return true
	default:
		return false
	}
}

func (h *files) release() {
	if h.large != nil {
		<-h.large
	}
}

// serveFile answers with the file, a range of it, or 304.
func serveFile(w http.ResponseWriter, r *http.Request, file *os.File, info fs.FileInfo) {
	w.Header()["Etag"] = []string{etag(info, false, "")}
	answer(w, r, file, info, func([]byte) {})
}

// answer sends a file whose validators stand in the header already. A small one is shown to whole, too.
func answer(w http.ResponseWriter, r *http.Request, file *os.File, info fs.FileInfo, whole func([]byte)) {
	header := w.Header()
	header["X-Content-Type-Options"] = noSniff // a browser must not take an uploaded text for a script
	r = httprange.Request(r)
	if isPlain(r) && info.Size() <= smallFile {
		answerSmall(w, r, file, info, whole)
		return
	}
	if header.Get("Content-Encoding") != "" && r.Header.Get("If-Match") == "" && r.Header.Get("If-Unmodified-Since") == "" {
		header["Content-Length"] = []string{strconv.FormatInt(info.Size(), 10)} // net/http sets none for what is encoded
	}
	http.ServeContent(w, r, info.Name(), info.ModTime(), file)
}

var noSniff = []string{"nosniff"}

// conditions are the headers of requests that may be answered with something else than the whole file.
var conditions = []string{"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range"}

// isPlain reports whether the request is for the file as it is.
func isPlain(r *http.Request) bool {
	for _, name := range conditions {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return true
}

// answerSmall reads the file before it sends anything.
func answerSmall(w http.ResponseWriter, r *http.Request, file *os.File, info fs.FileInfo, whole func([]byte)) {
	buf := smallFiles.Get().(*[smallFile]byte)
	defer smallFiles.Put(buf)
	n, err := io.ReadFull(file, buf[:info.Size()])
	header := w.Header()
	switch {
	case err == io.ErrUnexpectedEOF || err == io.EOF && info.Size() > 0:
		delete(header, "Etag") // it is being written: what was read has no name
	case err != nil && err != io.EOF:
		for _, name := range []string{"Etag", "Cache-Control", "Content-Encoding"} {
			delete(header, name)
		}
		http.Error(w, "500 internal server error", http.StatusInternalServerError)
		return
	default:
		if modified := lastModified(info); modified != "" {
			header["Last-Modified"] = []string{modified}
		}
		whole(buf[:n])
	}
	if len(header["Content-Type"]) == 0 {
		header["Content-Type"] = []string{contentTypeOf(info.Name(), buf[:n])}
	}
	header["Accept-Ranges"] = acceptRanges
	header["Content-Length"] = []string{strconv.Itoa(n)}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(buf[:n]) // an error is the client's going
	}
}

// lastModified is "" when nobody knows.
func lastModified(info fs.FileInfo) string {
	if modified := info.ModTime(); modified.Unix() > 0 {
		return modified.UTC().Format(http.TimeFormat)
	}
	return ""
}

func contentTypeOf(name string, body []byte) string {
	if known := mime.TypeByExtension(path.Ext(name)); known != "" {
		return known
	}
	return http.DetectContentType(body[:min(len(body), 512)])
}

var acceptRanges = []string{"bytes"}

// etag is strong unless weak: it changes with every nanosecond and byte that the file system tells apart.
func etag(info fs.FileInfo, weak bool, suffix string) string {
	tag := make([]byte, 0, 48)
	if weak {
		tag = append(tag, "W/"...)
	}
	tag = append(tag, '"')
	tag = strconv.AppendInt(tag, info.ModTime().UnixNano(), 36)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, info.Size(), 36)
	tag = append(tag, suffix...)
	return string(append(tag, '"'))
}
