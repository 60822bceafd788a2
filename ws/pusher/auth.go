package pusher

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// sign is the hexadecimal HMAC-SHA256 of the parts, joined by ":".
func sign(secret string, parts ...string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	for i, p := range parts {
		if i > 0 {
			mac.Write([]byte{':'})
		}
		mac.Write([]byte(p))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// credentials are what an app signs with.
type credentials struct{ key, secret string }

// checkChannel tells whether auth, "key:signature", allows the socket to subscribe. channelData is "" when there is none.
func (c credentials) checkChannel(auth, socketID, channel, channelData string) error {
	if channelData == "" {
		return c.check(auth, socketID, channel)
	}
	return c.check(auth, socketID, channel, channelData)
}

// checkUser tells whether auth allows the socket to sign in with userData.
func (c credentials) checkUser(auth, socketID, userData string) error {
	return c.check(auth, socketID, "", "user", "", userData)
}

func (c credentials) check(auth string, parts ...string) error {
	key, signature, ok := strings.Cut(auth, ":")
	switch {
	case auth == "":
		return fmt.Errorf("auth is missing: the back end has to sign it")
	case !ok:
		return fmt.Errorf("auth is not KEY:SIGNATURE")
	case key != c.key:
		return fmt.Errorf("auth is of another key, this app's is %s", c.key)
	case !hmac.Equal([]byte(signature), []byte(sign(c.secret, parts...))):
		return fmt.Errorf("the signature is wrong: expected the HMAC-SHA256, in hexadecimal, of %q with the app's secret", strings.Join(parts, ":"))
	}
	return nil
}
