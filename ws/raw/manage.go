package raw

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/edge-server/edge/internal/jsonproblem"
	"github.com/edge-server/edge/ws"
)

const (
	maxManaged = 16 << 20 // bytes of a message,
	maxOrder   = 1 << 20  // and of an order
)

// manage is POST (send), GET (tell about), PATCH (carry out an order) and DELETE (close) of /@connections/ID, on whichever node that is.
func (a *App) manage(w http.ResponseWriter, r *http.Request, text, secret string) {
	// Hashes have one length: the comparison takes the same time whatever was sent.
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	said, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(secret))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(said[:], want[:]) != 1 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "401 unauthorized", http.StatusUnauthorized)
		return
	}
	id, err := ws.ParseConnID(text)
	if err != nil {
		gone(w)
		return
	}
	if c := a.space.Find(id); c != nil && c.Ending() {
		gone(w)
		return
	}
	switch r.Method {
	case http.MethodPost:
		a.manageSend(w, r, id)
	case http.MethodDelete:
		managed(w, a.space.TellOne(r.Context(), ws.Command{Conn: id, Code: ws.CloseNormal}))
	case http.MethodGet:
		a.manageOrder(w, r, id, Order{Describe: true})
	case http.MethodPatch:
		var o Order
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		in.DisallowUnknownFields()
		err := in.Decode(&o)
		if err == nil {
			err = atEnd(in)
		}
		if err != nil {
			err = orderProblem(err)
		} else {
			err = o.Validate()
		}
		if err != nil {
			refuseOrder(w, err)
			return
		}
		o.Describe = true
		a.manageOrder(w, r, id, o)
	default:
		w.Header().Set("Allow", "GET, POST, PATCH, DELETE")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
	}
}

// atEnd says what is wrong with a body that goes on behind its JSON.
func atEnd(in *json.Decoder) error {
	_, err := in.Token()
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &large):
		return err
	}
	return fmt.Errorf("more follows behind it, from byte %d on", in.InputOffset())
}

// orderProblem says what is wrong with an order that cannot be read.
func orderProblem(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return errors.New(jsonproblem.Text(err))
}

func refuseOrder(w http.ResponseWriter, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		http.Error(w, fmt.Sprintf("413 the body is larger than %d bytes", large.Limit), http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, fmt.Sprintf("400 the body is JSON with attributes, subscribe and unsubscribe: %v", err), http.StatusBadRequest)
}

func (a *App) manageOrder(w http.ResponseWriter, r *http.Request, id ws.ConnID, o Order) {
	d, err := a.Carry(r.Context(), id, o)
	if err != nil {
		managed(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d) // the client may have gone
}

func (a *App) manageSend(w http.ResponseWriter, r *http.Request, id ws.ConnID) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManaged))
	if err != nil {
		http.Error(w, "413 the message is too large", http.StatusRequestEntityTooLarge)
		return
	}
	kind := ws.Text
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/octet-stream") || !utf8.Valid(body) {
		kind = ws.Binary
	}
	managed(w, a.space.TellOne(r.Context(), ws.Command{Conn: id, Send: ws.Prepare(kind, body)}))
}

// managed answers with what became of it.
func managed(w http.ResponseWriter, err error) {
	var refused RefusedError
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ws.ErrClosed), errors.Is(err, ErrGone):
		gone(w)
	case errors.As(err, &refused):
		http.Error(w, "409 "+err.Error()+"; nothing was done", http.StatusConflict)
	default:
		http.Error(w, "503 "+err.Error(), http.StatusServiceUnavailable)
	}
}

func gone(w http.ResponseWriter) {
	http.Error(w, "410 gone: there is no such connection", http.StatusGone)
}
