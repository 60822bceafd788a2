//go:build !unix

package httpserver

import (
	"net/netip"
	"os"

	"github.com/edge-server/edge/core/upgrade"
)

// quicPath is a UDP socket. No other process takes it here.
type quicPath struct {
	*upgrade.Packets
	own uint16
}

func newQUICPath(socket *upgrade.Packets, _ <-chan struct{}, _ QUICLegacy, _ *os.File) (*quicPath, error) {
	return &quicPath{socket, newMarker()}, nil
}

func (p *quicPath) prepare() (*os.File, error) { return nil, upgrade.Supported() }
func (p *quicPath) leave([]netip.AddrPort)     {}
func (p *quicPath) markers() []uint16          { return []uint16{p.own} }
func (p *quicPath) ids() connIDs               { return connIDs{p.own} }
