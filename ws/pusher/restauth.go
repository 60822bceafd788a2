package pusher

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockSkew is how far the clock of a caller of the HTTP API may be off.
const clockSkew = 600 * time.Second

// latestStamp is in the year 2255; milliseconds are beyond it.
const latestStamp = 9_000_000_000

// checkRequest tells whether a call of the HTTP API was signed by the app's back end. paths are the forms in which the path may
// have been signed: with and without the prefix of the section, escaped or not.
func (c credentials) checkRequest(method string, paths []string, query url.Values, body []byte, now time.Time) error {
	if key := query.Get("auth_key"); key != c.key {
		return fmt.Errorf("auth_key: %q is not the key of this app", key)
	}
	if v := query.Get("auth_version"); v != "1.0" {
		return fmt.Errorf("auth_version: must be 1.0, got %q", v)
	}
	stamp, err := strconv.ParseInt(query.Get("auth_timestamp"), 10, 64)
	if err == nil && stamp > latestStamp {
		return fmt.Errorf("auth_timestamp: %d is not a time in seconds since 1970: is it in milliseconds?", stamp)
	}
	if err != nil || stamp < 0 {
		return fmt.Errorf("auth_timestamp: %q is not a time in seconds since 1970", query.Get("auth_timestamp"))
	}
	if off := now.Sub(time.Unix(stamp, 0)).Abs(); off > clockSkew {
		return fmt.Errorf("auth_timestamp: it is %s off, more than the %s allowed: set the clocks of both machines", off.Round(time.Second), clockSkew)
	}
	if err := checkBodyHash(query, body); err != nil {
		return err
	}
	signature := []byte(query.Get("auth_signature"))
	signed := signedQuery(query)
	for _, path := range paths {
		if hmac.Equal(signature, []byte(sign(c.secret, method+"\n"+path+"\n"+signed))) {
			return nil
		}
	}
	return fmt.Errorf("auth_signature is wrong: expected the HMAC-SHA256, in hexadecimal, of %q with the app's secret", method+"\n"+paths[0]+"\n"+signed)
}

// checkBodyHash compares body_md5 with the body that came: the signature covers the query alone.
func checkBodyHash(query url.Values, body []byte) error {
	want, given := "", query.Get("body_md5")
	if len(body) > 0 {
		sum := md5.Sum(body)
		want = hex.EncodeToString(sum[:])
	}
	switch {
	case given == "" && want == "":
		return nil
	case given == "":
		return errors.New("body_md5 is missing: requests with a body must have it")
	case want == "":
		want = "d41d8cd98f00b204e9800998ecf8427e" // of nothing
	}
	if !hmac.Equal([]byte(strings.ToLower(given)), []byte(want)) {
		return errors.New("body_md5 is not the MD5 of the body")
	}
	return nil
}

// signedQuery is the query as it is signed: lower-case keys in order, unescaped, without the signature.
func signedQuery(query url.Values) string {
	pairs := make([]string, 0, len(query))
	for key, values := range query {
		if key == "auth_signature" {
			continue
		}
		for _, v := range values {
			pairs = append(pairs, strings.ToLower(key)+"="+v)
		}
	}
	slices.SortStableFunc(pairs, func(a, b string) int {
		ka, _, _ := strings.Cut(a, "=")
		kb, _, _ := strings.Cut(b, "=")
		return strings.Compare(ka, kb)
	})
	return strings.Join(pairs, "&")
}
