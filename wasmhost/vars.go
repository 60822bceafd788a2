package wasmhost

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const (
	maxVariables     = 64
	maxVariableBytes = 32 << 10 // of names and values of a request
	maxVariable      = 4 << 10
	hostVariables    = "edge." // begin with this, and guests cannot set them
)

// Variable is something that a plugin, or the server, has found out about a request.
type Variable struct{ Name, Value string }

// Variables are those of one request. What is outside of all plugins and wants to know them afterwards, such as the access log,
// puts them there with WithVariables; otherwise the first plugin that sets one does.
type Variables struct {
	mu   sync.Mutex // guards all below
	list []Variable
	size int
}

// variablesContext is context.WithValue with one allocation instead of two.
type variablesContext struct {
	context.Context
	vars Variables
}

type variablesKey struct{}

func (c *variablesContext) Value(key any) any {
	if key == (variablesKey{}) {
		return &c.vars
	}
	return c.Context.Value(key)
}

// WithVariables returns r with room for variables.
func WithVariables(r *http.Request) *http.Request {
	return r.WithContext(&variablesContext{Context: r.Context()})
}

// VariablesOf returns the variables of the request that ctx belongs to, nil when there is no room for any. A nil one has none.
func VariablesOf(ctx context.Context) *Variables {
	v, _ := ctx.Value(variablesKey{}).(*Variables)
	return v
}

// All returns the variables that plugins have set, in the order in which they were set first.
func (v *Variables) All() []Variable {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []Variable
	for _, x := range v.list {
		if !strings.HasPrefix(x.Name, hostVariables) {
			list = append(list, x)
		}
	}
	return list
}

// Get returns the value of a variable.
func (v *Variables) Get(name string) (string, bool) {
	if v == nil {
		return "", false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, x := range v.list {
		if x.Name == name {
			return x.Value, true
		}
	}
	return "", false
}

// SetRoute says which route the request takes: "edge.route".
func (v *Variables) SetRoute(name string) {
	if v != nil && name != "" {
		_ = v.set(hostVariables+"route", name) // there is always room for the server's own
	}
}

// SetUser says who the user of the request is: "edge.user".
func (v *Variables) SetUser(name string) {
	if v != nil {
		_ = v.set(hostVariables+"user", name) // as above
	}
}

func (v *Variables) set(name, value string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.list {
		if x := &v.list[i]; x.Name == name {
			if v.size+len(value)-len(x.Value) > maxVariableBytes {
				return refusal(abi.ErrLimit, "the variables of a request have at most %d bytes", maxVariableBytes)
			}
			v.size += len(value) - len(x.Value)
			x.Value = value
			return nil
		}
	}
	if own := strings.HasPrefix(name, hostVariables); !own {
		if len(v.list) >= maxVariables || v.size+len(name)+len(value) > maxVariableBytes {
			return refusal(abi.ErrLimit, "a request has at most %d variables with %d bytes in all", maxVariables, maxVariableBytes)
		}
		v.size += len(name) + len(value)
	}
	v.list = append(v.list, Variable{name, value})
	return nil
}

// variables returns those of the request, and makes room for them in it if nobody has.
func (x *exchange) variables() *Variables {
	if v := VariablesOf(x.r.Context()); v != nil {
		return v
	}
	*x.own() = *WithVariables(x.r)
	return VariablesOf(x.r.Context())
}

func varGet(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := textAt(mem, s[0], s[1], 64)
	if err != nil {
		return 0, err
	}
	ctx := i.exchange.r.Context()
	value, found := VariablesOf(ctx).Get(name)
	if !found && name == hostVariables+"request_id" && i.gen.ext.services.RequestID != nil {
		value = i.gen.ext.services.RequestID(ctx)
		found = value != ""
	}
	if !found {
		return 0, refusal(abi.ErrNotFound, "this request has no variable %.64q", name)
	}
	return give(mem, s[2], s[3], value)
}

func varSet(i *instance, mem api.Memory, s []uint64) (int64, error) {
	name, err := textAt(mem, s[0], s[1], 64)
	if err != nil {
		return 0, err
	}
	value, err := textAt(mem, s[2], s[3], maxVariable)
	switch {
	case err != nil:
		return 0, err
	case !validLabel(name) || strings.HasPrefix(name, hostVariables):
		return 0, refusal(abi.ErrInvalid, `%.64q is no name for a variable: 1 to 64 of a-z A-Z 0-9 _ . -, not beginning with "edge."`, name)
	case !utf8.ValidString(value):
		return 0, refusal(abi.ErrInvalid, "the value of the variable %q is not UTF-8", name)
	}
	i.exchange.varsSet = true
	return 0, i.exchange.variables().set(name, value)
}
