package admin

import (
	"fmt"
	"net/http"
)

// inJSON makes what the mux says by itself, of paths and methods that there are not, an error like the others.
func inJSON(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			w = &refusal{ResponseWriter: w, request: r}
		}
		mux.ServeHTTP(w, r)
	})
}

// refusal puts JSON in the place of the line of text for 404 and 405.
type refusal struct {
	http.ResponseWriter
	request  *http.Request
	replaced bool
}

// WriteHeader answers.
func (f *refusal) WriteHeader(status int) {
	var err error
	switch status {
	case http.StatusNotFound:
		err = fmt.Errorf("there is no %.200q here: docs/admin.md lists the paths", f.request.URL.Path)
	case http.StatusMethodNotAllowed:
		err = fmt.Errorf("this path is not for %.20q but for %s", f.request.Method, f.Header().Get("Allow"))
	default:
		f.ResponseWriter.WriteHeader(status)
		return
	}
	f.replaced = true
	answerError(f.ResponseWriter, status, err)
}

// Write drops the line.
func (f *refusal) Write(p []byte) (int, error) {
	if f.replaced {
		return len(p), nil
	}
	return f.ResponseWriter.Write(p)
}
