package pusher

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Service is the API for PHP workers, without HTTP and signatures: who may call it is the RPC server's business. It has the shape
// of rpc.Handler. Requests and answers are those of the HTTP API with the name of the app beside them, as JSON:
//
//	Publish    {"app": "main", "name": …, "channels": […], "data": …, "socket_id": …, "info": …}  as POST events
//	Batch      {"app": "main", "batch": [{…}, …]}                                                 as POST batch_events
//	Channels   {"app": "main", "prefix": …, "info": …}                                            as GET channels
//	Channel    {"app": "main", "channel": …, "info": …}                                           as GET channels/NAME
//	Users      {"app": "main", "channel": …}                                                      as GET channels/NAME/users
//	Terminate  {"app": "main", "user": …}                                                         as POST users/ID/terminate_connections
//
// The app may be left out when there is only one.
type Service struct{ server *Server }

// NewService returns the RPC face of the apps.
func NewService(s *Server) *Service { return &Service{s} }

// serviceRequest is the argument of every method.
type serviceRequest struct {
	App string `json:"app"`
	apiEvent
	Batch  []apiEvent `json:"batch"`
	Prefix string     `json:"prefix"`
	User   string     `json:"user"`
}

// NewRequest returns an empty argument for method; it reports false when there is no such method.
func (s *Service) NewRequest(method string) (any, bool) {
	switch method {
	case "Publish", "Batch", "Channels", "Channel", "Users", "Terminate":
		return new(serviceRequest), true
	}
	return nil, false
}

// Call runs method with a request that NewRequest returned.
func (s *Service) Call(ctx context.Context, method string, request any) (any, error) {
	req := request.(*serviceRequest)
	answer, err := s.call(ctx, method, req)
	if err != nil {
		return nil, fmt.Errorf("pusher.%s: %w", method, err)
	}
	return json.RawMessage(answer), nil
}

func (s *Service) call(ctx context.Context, method string, req *serviceRequest) ([]byte, error) {
	a, err := s.server.find(req.App)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patienceForCall)
	defer cancel()
	a.stats.rpcCalls.Add(1)
	switch method {
	case "Publish":
		return a.triggerOne(ctx, &req.apiEvent)
	case "Batch":
		return a.triggerAll(ctx, req.Batch)
	case "Channels":
		return a.listChannels(ctx, req.Prefix, req.Info)
	case "Channel":
		return a.describe(ctx, req.Channel, req.Info)
	case "Users":
		return a.listUsers(ctx, req.Channel)
	default: // Terminate
		if req.User == "" {
			return nil, apiErrorf(400, "whose connections? user is empty")
		}
		return []byte("{}"), a.terminate(ctx, req.User)
	}
}

// find returns an app by name. Without a name there must be one only.
func (s *Server) find(name string) (*app, error) {
	var names []string
	apps := s.section.Load().apps
	for _, a := range apps {
		if a.name == name || name == "" && len(apps) == 1 {
			return a, nil
		}
		names = append(names, a.name)
	}
	if name == "" {
		return nil, fmt.Errorf("which app? ws.pusher.apps has %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no app %q: ws.pusher.apps has %s", name, strings.Join(names, ", "))
}
