package mercure

import (
	"context"
	"fmt"
)

// Service is the hub for PHP workers. Who may call it is the RPC server's business, so it asks for no token. It has the shape of rpc.Handler:
//
//	Publish  {"topics": […], "data": …, "private": …, "id": …, "type": …, "retry": …}  returns the id
type Service struct{ server *Server }

// NewService returns the RPC face of a hub.
func NewService(s *Server) *Service { return &Service{s} }

// NewRequest returns an empty argument for method; it reports false when there is no such method.
func (v *Service) NewRequest(method string) (any, bool) {
	if method != "Publish" {
		return nil, false
	}
	return new(Update), true
}

// Call runs method with a request that NewRequest returned.
func (v *Service) Call(ctx context.Context, method string, request any) (any, error) {
	id, err := v.server.Publish(ctx, *request.(*Update))
	if err != nil {
		return nil, fmt.Errorf("mercure.%s: %w", method, err)
	}
	return id, nil
}

// Publish publishes an update and returns its id.
func (s *Server) Publish(ctx context.Context, in Update) (id string, err error) {
	u, err := s.newUpdate(in)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patienceForPublish)
	defer cancel()
	if err := s.publish(ctx, u); err != nil {
		return "", fmt.Errorf("the update was not published: %w", err)
	}
	s.stats.published.Add(1)
	return u.id, nil
}
