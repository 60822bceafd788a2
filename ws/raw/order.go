package raw

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/edge-server/edge/ws"
)

// Order is something to do with a connection, on whichever node it is. What is empty is not done; it is done in the order of the fields.
type Order struct {
	Attributes  map[string]string `json:"attributes,omitempty"` // to set; an empty value takes one away
	Unsubscribe []string          `json:"unsubscribe,omitempty"`
	Subscribe   []Subscription    `json:"subscribe,omitempty"`
	Describe    bool              `json:"describe,omitempty"`
}

// Subscription is a channel to subscribe a connection to.
type Subscription struct {
	Channel string `json:"channel"`
	Member  string `json:"member,omitempty"` // as whom it is there; empty: as nobody
	Info    string `json:"info,omitempty"`   // what others may know of the member
}

// UnmarshalJSON takes the name of a channel, too.
func (s *Subscription) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &s.Channel)
	}
	type plain Subscription
	in := json.NewDecoder(bytes.NewReader(b))
	in.DisallowUnknownFields()
	return in.Decode((*plain)(s))
}

// Bounds of what one order may ask for. Who gives them is the application itself: these catch mistakes.
const (
	MaxChannel    = 256 // bytes of names: of channels, members and attributes
	MaxAttributes = 64
	MaxAttribute  = 4 << 10
	maxInfo       = 4 << 10
	maxOrdered    = 1000 // channels
)

// ErrGone says that no node has the connection.
var ErrGone = errors.New("there is no such connection")

// Validate says what is wrong with the order.
func (o *Order) Validate() error {
	if len(o.Subscribe)+len(o.Unsubscribe) > maxOrdered {
		return fmt.Errorf("subscribe: at most %d channels at a time", maxOrdered)
	}
	for _, channel := range o.Unsubscribe {
		if err := ValidChannel(channel); err != nil {
			return err
		}
	}
	for _, s := range o.Subscribe {
		if err := ValidChannel(s.Channel); err != nil {
			return err
		}
		if len(s.Member) > MaxChannel || len(s.Info) > maxInfo {
			return fmt.Errorf("member: at most %d bytes, and info at most %d", MaxChannel, maxInfo)
		}
	}
	for name, value := range o.Attributes {
		if name == "" || len(name) > MaxChannel || len(value) > MaxAttribute {
			return fmt.Errorf("attributes: a name has 1 to %d bytes, a value at most %d; see %.40q", MaxChannel, MaxAttribute, name)
		}
	}
	return nil
}

// ValidChannel says what is wrong with the name of a channel.
func ValidChannel(name string) error {
	if name == "" || len(name) > MaxChannel || !utf8.ValidString(name) {
		return fmt.Errorf("channel: must be UTF-8 of 1 to %d bytes, got %.40q", MaxChannel, name)
	}
	return nil
}

// Carry has an order carried out by the node that holds the connection, and returns what that is then, if the order asks for it. ErrGone:
// there is none.
func (a *App) Carry(ctx context.Context, id ws.ConnID, o Order) (*Description, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if c := a.space.Find(id); c != nil {
		return a.carry(ctx, c, &o)
	}
	if a.space.Hub().Owns(id) {
		return nil, ErrGone
	}
	request, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	answer, err := a.space.Ask(ctx, id, request)
	switch {
	case errors.Is(err, ws.ErrClosed):
		return nil, ErrGone
	case err != nil:
		return nil, err
	}
	var carried outcome
	err = json.Unmarshal(answer, &carried)
	if err == nil && carried.Refused != "" {
		err = RefusedError(carried.Refused)
	}
	return carried.Description, err
}

// outcome is what another node answers to an order.
type outcome struct {
	Refused     string       `json:"refused,omitempty"`
	Description *Description `json:"description,omitempty"`
}

// answerOrder is ws.Handlers.Answer: the order comes from another node.
func (a *App) answerOrder(ctx context.Context, c *ws.Conn, request []byte) ([]byte, error) {
	var o Order
	if err := json.Unmarshal(request, &o); err != nil {
		return nil, errors.New("what another node asks for cannot be understood; nodes of a fleet run the same version")
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	d, err := a.carry(ctx, c, &o)
	var refused RefusedError
	if err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	return json.Marshal(outcome{string(refused), d})
}

// carry is Carry on the node that holds the connection.
func (a *App) carry(ctx context.Context, c *ws.Conn, o *Order) (*Description, error) {
	if len(o.Attributes)+len(o.Subscribe) > 0 && c.Ending() { // in its last event the application may still leave rooms
		return nil, ErrGone
	}
	if err := fits(c, o); err != nil {
		return nil, err
	}
	for name, value := range o.Attributes {
		c.Set(name, value)
	}
	for _, channel := range o.Unsubscribe {
		if _, err := a.space.Unsubscribe(ctx, c, channel, ws.UnsubscribeOptions{}); err != nil {
			return nil, err
		}
	}
	for _, s := range o.Subscribe {
		opts := ws.SubscribeOptions{}
		if s.Member != "" {
			opts.Member = &ws.Member{ID: s.Member, Info: []byte(s.Info), Conn: c.ID()}
		}
		_, err := a.space.Subscribe(ctx, c, s.Channel, opts)
		if errors.Is(err, ws.ErrChannels) { // somebody else was faster
			err = tooManyChannels(c)
		}
		if err != nil {
			return nil, err
		}
	}
	if !o.Describe {
		return nil, nil
	}
	d := Describe(c)
	return &d, nil
}

// RefusedError says why a connection cannot take an order.
type RefusedError string

func (e RefusedError) Error() string { return string(e) }

func tooManyChannels(c *ws.Conn) error {
	return RefusedError(fmt.Sprintf("subscribe: a connection may have %d channels (ws.limits.channels)", c.MaxChannels()))
}

// fits says what of an order would exceed the limits of the connection, before anything of it is done.
func fits(c *ws.Conn, o *Order) error {
	if len(o.Attributes) > 0 {
		have := c.Attributes()
		if have == nil {
			have = map[string]string{}
		}
		before := len(have)
		for name, value := range o.Attributes {
			if value == "" {
				delete(have, name)
			} else {
				have[name] = value
			}
		}
		if len(have) > max(MaxAttributes, before) {
			return RefusedError(fmt.Sprintf("attributes: a connection may have %d, and would have %d", MaxAttributes, len(have)))
		}
	}
	if len(o.Subscribe) > 0 {
		channels := map[string]bool{}
		for _, name := range c.Channels() {
			channels[name] = true
		}
		for _, name := range o.Unsubscribe {
			delete(channels, name)
		}
		for _, s := range o.Subscribe {
			channels[s.Channel] = true
		}
		if len(channels) > c.MaxChannels() {
			return tooManyChannels(c)
		}
	}
	return nil
}
