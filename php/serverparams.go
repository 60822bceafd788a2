package php

import (
	"net/http"
	"strings"
)

// EachServerParam calls add for the attributes of a request that scripts find in $_SERVER: what is known of the client's certificate, and whose
// password was right. No client can set them.
func EachServerParam(r *http.Request, add func(name, value string)) {
	for _, a := range attributesOf(r) {
		if strings.HasPrefix(a.name, "SSL_CLIENT_") || a.name == "REMOTE_USER" || a.name == "AUTH_TYPE" {
			add(a.name, a.values[0])
		}
	}
}
