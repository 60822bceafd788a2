package pusher

// A problem is an error of the protocol: the code that clients act on, and a text for people.
//
//	4000-4099  the connection is closed, and the same again would fail
//	4100-4199  it is closed, and the client may come back after a pause
//	4200-4299  it is closed, and the client may come back at once
//	4300-4399  something was refused, the connection stays
type problem struct {
	code int // 0: none, which is null on the wire
	text string
}

// What closes a connection.
var (
	errTLSOnly      = problem{4000, "Application only accepts SSL connections, reconnect using wss://"}
	errDisabled     = problem{4003, "Application disabled"}
	errOverQuota    = problem{4004, "Application is over connection quota"}
	errBadPath      = problem{4005, "Path not found"}
	errBadVersion   = problem{4006, "Invalid version string format"}
	errNoProtocol   = problem{4008, "No protocol version supplied"}
	errBadOrigin    = problem{4009, "Connection is unauthorized: pages of this origin may not connect"}
	errNotSignedIn  = problem{4009, "Connection not authorized within timeout"}
	errTerminated   = problem{4009, "You got disconnected by the app"}
	errOverCapacity = problem{4100, "Over capacity"}
	errReconnect    = problem{4200, "Server is going away, reconnect"}
	errNoPong       = problem{4201, "Pong reply not received in time"}
)

// Codes whose text depends on what happened.
const (
	codeUnknownApp       = 4001
	codeUnsupported      = 4007
	codeUnauthorized     = 4009
	codeBadMessage       = 4200
	codeClientEvent      = 4301
	codeWatchlistTooLong = 4302
)
