package pusher

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/edge-server/edge/ws"
)

// parseMember reads who somebody is, {"user_id": …, "user_info": …}; of a sign-in the key of the id is "id". An id may be written
// as a number.
func parseMember(data []byte, idKey string) (user, error) {
	var u user
	s := scanner{b: data}
	err := s.object(maxDepth, func(key []byte) (err error) {
		switch unquote(key) {
		case idKey:
			u.id, err = s.idField(idKey)
		case "user_info":
			u.info, err = s.raw(maxDepth - 1)
		default:
			err = s.value(maxDepth - 1)
		}
		return err
	})
	switch {
	case err != nil:
		return u, err
	case !s.end():
		return u, errJSON
	case u.id == "":
		return u, errors.New("it has no " + idKey)
	}
	return u, nil
}

// idField reads a text or a number.
func (s *scanner) idField(name string) (string, error) {
	raw, err := s.raw(maxDepth)
	if err != nil {
		return "", err
	}
	switch c := raw[0]; {
	case c == '"':
		return unquote(raw), nil
	case c == '-' || '0' <= c && c <= '9':
		return string(raw), nil
	}
	return "", fmt.Errorf("%s is neither a text nor a number", name)
}

// appendSubscribed is the answer to a subscription. members are those of a presence channel.
func appendSubscribed(dst []byte, sub *subscription, members []ws.Member) []byte {
	if sub.member == nil {
		return appendEvent(dst, eventSubscribed, sub.channel, []byte("{}"))
	}
	return appendRoster(dst, sub.channel, members)
}

// roster is subscription_succeeded again: clients take the members that are in it for all there are. Clients know nothing of the channels by
// which users are watched.
func (a *app) roster(channel string, members []ws.Member) *ws.Prepared {
	if isOnlineChannel(channel) {
		return nil
	}
	return ws.Prepare(ws.Text, appendRoster(nil, channel, members))
}

func appendRoster(dst []byte, channel string, members []ws.Member) []byte {
	data := strconv.AppendInt([]byte(`{"presence":{"count":`), int64(len(members)), 10)
	data = append(data, `,"ids":[`...)
	for i := range members {
		if i > 0 {
			data = append(data, ',')
		}
		data = appendText(data, members[i].ID)
	}
	data = append(data, `],"hash":{`...)
	for i := range members {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(appendText(data, members[i].ID), ':')
		data = appendInfo(data, members[i].Info)
	}
	return appendEvent(dst, eventSubscribed, channel, append(data, "}}}"...))
}

// appendInfo appends what is known about a member. It is JSON that was read before.
func appendInfo(dst, info []byte) []byte {
	if len(info) == 0 {
		return append(dst, "{}"...)
	}
	return append(dst, info...)
}

// memberFrame tells the others who came.
func memberFrame(event, channel string, m ws.Member) *ws.Prepared {
	data := appendText([]byte(`{"user_id":`), m.ID)
	data = appendInfo(append(data, `,"user_info":`...), m.Info)
	return ws.Prepare(ws.Text, appendEvent(nil, event, channel, append(data, '}')))
}

// departure tells the others who went.
func departure(channel string, m ws.Member) *ws.Prepared {
	if isOnlineChannel(channel) {
		return onlineFrame(statusOffline, m.ID)
	}
	data := append(appendText([]byte(`{"user_id":`), m.ID), '}')
	return ws.Prepare(ws.Text, appendEvent(nil, eventMemberRemoved, channel, data))
}
