package pusher

import (
	"errors"
	"fmt"
	"strconv"
)

// Events of the protocol.
const (
	eventEstablished   = "pusher:connection_established"
	eventError         = "pusher:error"
	eventPing          = "pusher:ping"
	eventPong          = "pusher:pong"
	eventSubscribe     = "pusher:subscribe"
	eventUnsubscribe   = "pusher:unsubscribe"
	eventSignin        = "pusher:signin"
	eventSigninSuccess = "pusher:signin_success"
	eventSubError      = "pusher:subscription_error"
	eventCacheMiss     = "pusher:cache_miss"
	eventSubscribed    = "pusher_internal:subscription_succeeded"
	eventCount         = "pusher_internal:subscription_count"
	eventMemberAdded   = "pusher_internal:member_added"
	eventMemberRemoved = "pusher_internal:member_removed"
	eventWatchlist     = "pusher_internal:watchlist_events"
	clientPrefix       = "client-"
)

// A message is what a client sends: {"event": …, "channel": …, "data": …}.
type message struct {
	event   string
	channel string
	data    []byte // as it is written; nil without data; a part of what was read
}

var (
	errNotObject = errors.New("it is not a JSON object with an event")
	errNoObject  = errors.New("it is not a JSON object")
)

// parseMessage reads one text frame.
func parseMessage(frame []byte) (message, error) {
	var m message
	s := scanner{b: frame}
	err := s.object(maxDepth, func(key []byte) (err error) {
		switch string(key) {
		case `"event"`:
			m.event, err = s.stringField("event")
		case `"channel"`:
			m.channel, err = s.stringField("channel")
		case `"data"`:
			m.data, err = s.raw(maxDepth - 1)
		default:
			err = s.value(maxDepth - 1)
		}
		return err
	})
	switch {
	case err != nil && isOther(frame), err == nil && m.event == "" && s.end():
		return m, errNotObject
	case err != nil:
		return m, err
	case !s.end():
		return m, errJSON
	}
	return m, nil
}

// isOther reports whether something is JSON, but no object.
func isOther(text []byte) bool {
	s := scanner{b: text}
	if s.space(); s.i < len(text) && text[s.i] == '{' {
		return false
	}
	return s.value(maxDepth) == nil && s.end()
}

// stringField reads a string; null counts as none.
func (s *scanner) stringField(name string) (string, error) {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == 'n' {
		return "", s.word("null")
	}
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		if err := s.value(maxDepth); err != nil {
			return "", err
		}
		return "", fmt.Errorf("%s is not a text", name)
	}
	quoted, err := s.text()
	if err != nil {
		return "", err
	}
	return unquote(quoted), nil
}

// fields reads an object of texts, as in the data of pusher:subscribe. The object may be written in a string, too. Other
// members are stepped over.
func fields(data []byte, into map[string]*string) error {
	if len(data) > 0 && data[0] == '"' {
		data = []byte(unquote(data))
	}
	s := scanner{b: data}
	err := s.object(maxDepth, func(key []byte) (err error) {
		if p := into[string(key[1:len(key)-1])]; p != nil {
			*p, err = s.stringField(string(key[1 : len(key)-1]))
			return err
		}
		return s.value(maxDepth - 1)
	})
	switch {
	case err != nil && isOther(data):
		return errNoObject
	case err == nil && !s.end():
		return errJSON
	}
	return err
}

// appendEvent is a frame to a client. data is JSON and travels in a string, as the protocol has it; nil leaves it out.
func appendEvent(dst []byte, event, channel string, data []byte) []byte {
	dst = append(dst, `{"event":`...)
	dst = appendText(dst, event)
	if channel != "" {
		dst = append(dst, `,"channel":`...)
		dst = appendText(dst, channel)
	}
	if data != nil {
		dst = append(dst, `,"data":`...)
		dst = appendText(dst, data)
	}
	return append(dst, '}')
}

// appendPublished is a frame with an event of the back end or of a client. data is the text for the string.
func appendPublished(dst []byte, event, channel, data, userID string) []byte {
	dst = append(dst, `{"event":`...)
	dst = appendText(dst, event)
	dst = append(dst, `,"channel":`...)
	dst = appendText(dst, channel)
	dst = append(dst, `,"data":`...)
	dst = appendText(dst, data)
	if userID != "" {
		dst = append(dst, `,"user_id":`...)
		dst = appendText(dst, userID)
	}
	return append(dst, '}')
}

// appendProblem is pusher:error.
func appendProblem(dst []byte, p problem) []byte {
	data := append(make([]byte, 0, 64+len(p.text)), `{"code":`...)
	if p.code == 0 {
		data = append(data, "null"...)
	} else {
		data = strconv.AppendInt(data, int64(p.code), 10)
	}
	data = append(data, `,"message":`...)
	data = append(appendText(data, p.text), '}')
	return appendEvent(dst, eventError, "", data)
}

// textOf is data as the protocol sends it: the content of a string, and anything else as it is written.
func textOf(data []byte) string {
	switch {
	case len(data) == 0:
		return ""
	case data[0] == '"':
		return unquote(data)
	}
	return string(data)
}
