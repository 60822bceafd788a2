package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

// Hub carries messages to WebSocket connections. plugin is who asks: it may address the connections that it was given, and no
// others. Errors wrap an abi.Errno where the guest is to know more than "internal".
type Hub interface {
	Send(plugin string, conn int64, kind uint32, message []byte) error
	Publish(topic string, kind uint32, message []byte) error
	Subscribe(plugin string, conn int64, topic string) error
	Unsubscribe(plugin string, conn int64, topic string) error
	Close(plugin string, conn int64, code uint32, reason string) error

	// User is whose a connection is, "" nobody's; Get an attribute of it.
	User(plugin string, conn int64) (string, error)
	SetUser(plugin string, conn int64, user string) error
	Get(plugin string, conn int64, name string) (string, error)
	Set(plugin string, conn int64, name, value string) error
}

const (
	maxTopic     = 256
	maxUser      = 256
	maxAttribute = 4 << 10 // bytes of a value
)

func wsFunctions() []edgeFunction {
	return []edgeFunction{
		{abi.WSSend, "Iiii:i", whileRunning, wsSend},
		{abi.WSPublish, "iiiii:i", whileRunning, wsPublish},
		{abi.WSSubscribe, "Iii:i", whileRunning, wsSubscribe},
		{abi.WSUnsubscribe, "Iii:i", whileRunning, wsUnsubscribe},
		{abi.WSDisconnect, "Iiii:i", whileRunning, wsDisconnect},
		{abi.WSUser, "Iii:i", whileRunning, wsUser},
		{abi.WSSetUser, "Iii:i", whileRunning, wsSetUser},
		{abi.WSGet, "Iiiii:i", whileRunning, wsGet},
		{abi.WSSet, "Iiiii:i", whileRunning, wsSet},
	}
}

func (i *instance) hub() (Hub, error) {
	if hub := i.gen.ext.services.Hub; hub != nil {
		return hub, nil
	}
	return nil, refusal(abi.ErrUnsupported, "there is no hub: this server has no WebSockets")
}

// wsPayload is a message that the guest sends.
func (i *instance) wsPayload(mem api.Memory, kind, ptr, n uint64) ([]byte, error) {
	b, err := i.value(mem, ptr, n)
	switch k := uint32(kind); {
	case err != nil:
		return nil, err
	case k != abi.WSText && k != abi.WSBinary:
		return nil, refusal(abi.ErrInvalid, "%d is no kind of message: 1 text, 2 binary", k)
	case k == abi.WSText && !utf8.Valid(b):
		return nil, refusal(abi.ErrInvalid, "a text message that is not UTF-8")
	}
	return b, nil
}

func wsSend(i *instance, mem api.Memory, s []uint64) (int64, error) {
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	message, err := i.wsPayload(mem, s[1], s[2], s[3])
	if err != nil {
		return 0, err
	}
	return 0, hub.Send(i.gen.name, int64(s[0]), uint32(s[1]), message)
}

// topicAt is a topic that the plugin may use.
func (i *instance) topicAt(mem api.Memory, ptr, n uint64) (string, error) {
	topic, err := textAt(mem, ptr, n, maxTopic)
	switch {
	case err != nil:
		return "", err
	case topic == "" || !utf8.ValidString(topic):
		return "", refusal(abi.ErrInvalid, "a topic is UTF-8 of 1 to %d bytes", maxTopic)
	case !i.gen.ext.grants.topic(topic):
		return "", refusal(abi.ErrDenied, "the topic %.64q is not granted: plugins.modules.%s.allow.publish has %q", topic, i.gen.name, i.gen.ext.grants.Publish)
	}
	return topic, nil
}

func wsPublish(i *instance, mem api.Memory, s []uint64) (int64, error) {
	topic, err := i.topicAt(mem, s[0], s[1])
	if err != nil {
		return 0, err
	}
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	message, err := i.wsPayload(mem, s[2], s[3], s[4])
	if err != nil {
		return 0, err
	}
	return 0, hub.Publish(topic, uint32(s[2]), message)
}

func wsSubscribe(i *instance, mem api.Memory, s []uint64) (int64, error) {
	return i.subscription(mem, s, Hub.Subscribe)
}

func wsUnsubscribe(i *instance, mem api.Memory, s []uint64) (int64, error) {
	return i.subscription(mem, s, Hub.Unsubscribe)
}

func (i *instance) subscription(mem api.Memory, s []uint64, do func(Hub, string, int64, string) error) (int64, error) {
	topic, err := i.topicAt(mem, s[1], s[2])
	if err != nil {
		return 0, err
	}
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	return 0, do(hub, i.gen.name, int64(s[0]), topic)
}

func wsDisconnect(i *instance, mem api.Memory, s []uint64) (int64, error) {
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	code := uint32(s[1])
	reason, err := textAt(mem, s[2], s[3], 123) // what a close frame has room for
	switch {
	case err != nil:
		return 0, err
	case code < 1000 || code > 4999:
		return 0, refusal(abi.ErrInvalid, "%d is no close code: 1000 to 4999", code)
	case !utf8.ValidString(reason):
		return 0, refusal(abi.ErrInvalid, "the reason is not UTF-8")
	}
	return 0, hub.Close(i.gen.name, int64(s[0]), code, reason)
}

func wsUser(i *instance, mem api.Memory, s []uint64) (int64, error) {
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	user, err := hub.User(i.gen.name, int64(s[0]))
	if err != nil {
		return 0, err
	}
	return give(mem, s[1], s[2], user)
}

func wsSetUser(i *instance, mem api.Memory, s []uint64) (int64, error) {
	user, err := textAt(mem, s[1], s[2], maxUser)
	switch {
	case err != nil:
		return 0, err
	case !utf8.ValidString(user):
		return 0, refusal(abi.ErrInvalid, "the name of a user is UTF-8")
	}
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	return 0, hub.SetUser(i.gen.name, int64(s[0]), user)
}

// attributeAt is the name of an attribute.
func attributeAt(mem api.Memory, ptr, n uint64) (string, error) {
	name, err := textAt(mem, ptr, n, maxTopic)
	if err == nil && (name == "" || !utf8.ValidString(name)) {
		err = refusal(abi.ErrInvalid, "the name of an attribute is UTF-8 of 1 to %d bytes", maxTopic)
	}
	return name, err
}

func wsGet(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := attributeAt(mem, s[1], s[2])
	if err != nil {
		return 0, err
	}
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	value, err := hub.Get(i.gen.name, int64(s[0]), name)
	switch {
	case err != nil:
		return 0, err
	case value == "":
		return 0, refusal(abi.ErrNotFound, "the connection has no attribute %.64q", name)
	}
	return give(mem, s[3], s[4], value)
}

func wsSet(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := attributeAt(mem, s[1], s[2])
	if err != nil {
		return 0, err
	}
	value, err := textAt(mem, s[3], s[4], maxAttribute)
	switch {
	case err != nil:
		return 0, err
	case !utf8.ValidString(value):
		return 0, refusal(abi.ErrInvalid, "the value of an attribute is UTF-8")
	}
	hub, err := i.hub()
	if err != nil {
		return 0, err
	}
	return 0, hub.Set(i.gen.name, int64(s[0]), name, value)
}

// wsGuest are the exports of a WebSocket handler.
type wsGuest struct{ open, message, close api.Function }

func (i *instance) wsExports() *wsGuest {
	g := &i.ext.ws
	if g.open == nil {
		*g = wsGuest{i.mod.ExportedFunction(abi.WSOpen), i.mod.ExportedFunction(abi.WSMessage), i.mod.ExportedFunction(abi.WSClose)}
	}
	return g
}

// ErrMessageTooLarge is of a message that the plugin has no room for, now or later.
var ErrMessageTooLarge = errors.New("the message is larger than the plugin can take")

// ErrUnavailable is of an event that the plugin could not have now; it may later.
var ErrUnavailable = errors.New("the plugin cannot take the event now")

var errNoHandler = errors.New("the plugin is no WebSocket handler")

// handlesSockets says why the plugin cannot have an event, nil if it can.
func (p *Plugin) handlesSockets(at phase) error {
	switch g := p.current.Load(); {
	case g == nil:
		return p.eventFailed(at, errNoInstance{errNotThere})
	case !g.ext.kinds.Has(KindWS):
		return p.eventRefused(at, errNoHandler)
	}
	return nil
}

// WSOpen tells the plugin of a connection that a request asks for, which it accepts with 0 or refuses with a status. Errors are
// logged already.
func (p *Plugin) WSOpen(w http.ResponseWriter, r *http.Request, conn int64) (status int, err error) {
	if err := p.handlesSockets(phaseWSOpen); err != nil {
		return 0, err
	}
	var result uint32
	var said string
	err = p.run(r.Context(), phaseWSOpen, func(inst *instance) error {
		inst.exchange.begin(w, r, 0, inst.gen)
		inst.exchange.phase = phaseWSOpen
		stack := [1]uint64{uint64(conn)}
		err := inst.run(inst.wsExports().open, stack[:])
		result, said = uint32(stack[0]), inst.ext.said
		return err
	})
	if err != nil {
		return 0, p.eventFailed(phaseWSOpen, err)
	}
	if result != 0 && (result < 400 || result > 599) {
		return 0, p.eventRefused(phaseWSOpen, fmt.Errorf("%s returned %d, which is neither 0 nor a status from 400 to 599%s", abi.WSOpen, int32(result), because(said)))
	}
	return int(result), nil
}

// WSMessage hands the plugin a message. A code that is not 0 closes the connection, with an error too; after other errors the message
// is lost, and the connection stays. Errors are logged already.
func (p *Plugin) WSMessage(ctx context.Context, conn int64, kind uint32, message []byte) (code int, err error) {
	if err := p.handlesSockets(phaseWS); err != nil {
		return 0, err
	}
	var result uint32
	var said string
	var refused error
	err = p.run(ctx, phaseWS, func(inst *instance) error {
		if err := inst.post(string(message)); err != nil {
			refused = err
			return guestFault(err)
		}
		stack := [3]uint64{uint64(conn), uint64(kind), uint64(len(message))}
		err := inst.run(inst.wsExports().message, stack[:])
		result, said = uint32(stack[0]), inst.ext.said
		return err
	})
	switch {
	case err != nil:
		return 0, p.eventFailed(phaseWS, err)
	case refused != nil && errnoOf(refused) == abi.ErrTooLarge:
		return 0, p.eventRefused(phaseWS, fmt.Errorf("%w: %w", ErrMessageTooLarge, refused))
	case refused != nil:
		return 0, p.eventRefused(phaseWS, refused)
	case result != 0 && !sendableCode(result):
		return codeInternal, p.eventRefused(phaseWS, fmt.Errorf("%s returned %d, which is neither 0 nor a code that a connection can be closed with%s", abi.WSMessage, int32(result), because(said)))
	}
	return int(result), nil
}

// codeInternal closes a connection for which a plugin gave no code that can be sent.
const codeInternal = 1011

// sendableCode reports whether a close frame may carry the code (RFC 6455, 7.4).
func sendableCode(code uint32) bool {
	return code >= 1000 && code <= 4999 && (code < 1004 || code > 1006) && code != 1015
}

// because is what the guest said with set_error, as the end of a sentence.
func because(said string) string {
	if said == "" {
		return ""
	}
	return ": " + said
}

// eventFailed notes why run has failed, unless explain has: then the event had an instance.
func (p *Plugin) eventFailed(at phase, err error) error {
	if !errors.As(err, new(errNoInstance)) {
		return err
	}
	reason := printable([]byte(err.Error()))
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errClosed), errors.Is(err, errNotThere), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p.counters.refused.Add(1)
		p.noteError(err)
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		p.failedOnce()
		p.count(err)
	}
	p.troubles.line(slog.LevelWarn, []byte("plugin has no instance for an event; "+at.outcome()), slog.String("function", at.export()), slog.String("error", reason))
	return err
}

// eventRefused counts and logs an event that the guest could not have, or answered with what is no answer.
func (p *Plugin) eventRefused(at phase, err error) error {
	p.count(fmt.Errorf("%s: %w", at.export(), err))
	p.troubles.line(slog.LevelWarn, []byte("plugin failed in an event of a connection"), slog.String("function", at.export()), slog.String("error", printable([]byte(err.Error()))))
	return err
}

// WSClose tells the plugin that a connection which it had accepted is over.
func (p *Plugin) WSClose(ctx context.Context, conn int64, code int) error {
	if err := p.handlesSockets(phaseWSClose); err != nil {
		return err
	}
	err := p.run(ctx, phaseWSClose, func(inst *instance) error {
		return inst.run(inst.wsExports().close, []uint64{uint64(conn), uint64(code)})
	})
	if err != nil {
		return p.eventFailed(phaseWSClose, err)
	}
	return nil
}

// guestFault is the part of an error that says that the guest trapped.
func guestFault(err error) error {
	if trapped := (errMailbox{}); errors.As(err, &trapped) {
		return trapped
	}
	return nil
}
