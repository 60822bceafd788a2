package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/edge-server/edge/core/proxy"
	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/php/fastcgi"
)

// newProxies makes the proxies of the routes. One whose route says the same as before is carried over, with what it knows of its
// upstreams.
func (e *Edge) newProxies(w, old *world) error {
	if w.cfg.HTTP == nil {
		return nil
	}
	var errs []error
	kept := slices.Clone(old.proxies)
	w.proxies = make([]*proxy.Proxy, len(w.cfg.HTTP.Routes))
	for i := range w.cfg.HTTP.Routes {
		route := &w.cfg.HTTP.Routes[i]
		if route.Proxy == nil {
			continue
		}
		name := cmp.Or(route.Name, fmt.Sprintf("http.routes[%d]", i))
		same := func(p *proxy.Proxy) bool {
			return p != nil && p.Name() == name && reflect.DeepEqual(p.Config(), *route.Proxy)
		}
		if at := slices.IndexFunc(kept, same); at >= 0 {
			w.proxies[i], kept[at] = kept[at], nil
			continue
		}
		log := e.channel("proxy")
		p, err := proxy.New(*route.Proxy, proxy.Options{
			Name: name, Logger: log, Tunnels: e.tunnels,
			FastCGI: func(dial func(context.Context) (net.Conn, error), c proxy.FastCGI, header time.Duration) http.RoundTripper {
				return fastCGI{&fastcgi.Transport{Dial: dial, Root: c.Root, Index: c.Index, Header: header, Logger: log, Params: php.EachServerParam}}
			},
		})
		if err != nil {
			errs = append(errs, within(fmt.Sprintf("http.routes[%d].proxy", i), err))
			continue
		}
		w.proxies[i] = p
	}
	return errors.Join(errs...)
}

// fastCGI is the client of FastCGI servers as proxies know it.
type fastCGI struct{ *fastcgi.Transport }

// RoundTrip sends the request.
func (f fastCGI) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := f.Transport.RoundTrip(r)
	if errors.Is(err, fastcgi.ErrNoLength) {
		err = proxy.ErrLength
	}
	return res, err
}

// proxyOf is the target of a route of this world.
func (w *world) proxyOf(route *Route) (http.Handler, error) {
	for i := range w.cfg.HTTP.Routes {
		if route == &w.cfg.HTTP.Routes[i] {
			return w.proxies[i], nil
		}
	}
	return nil, errors.New("proxy: it belongs to no route")
}

func (w *world) proxiesWithout(other *world) []*proxy.Proxy {
	var own []*proxy.Proxy
	for _, p := range w.proxies {
		if p != nil && !slices.Contains(other.proxies, p) {
			own = append(own, p)
		}
	}
	return own
}

func (w *world) startProxies() {
	for _, p := range w.proxies {
		if p != nil {
			p.Start()
		}
	}
}

func (w *world) stopProxies(ctx context.Context) error {
	var errs []error
	for _, p := range w.proxies {
		if p != nil {
			errs = append(errs, p.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

func (w *world) proxyStats() []proxy.Stats {
	var list []proxy.Stats
	for _, p := range w.proxies {
		if p != nil {
			list = append(list, p.Stats())
		}
	}
	return list
}
