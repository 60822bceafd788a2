package pusher

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// The worked examples of the protocol's documentation.
var documented = credentials{"278d425bdf160c739803", "7ad3773142a6692b25b8"}

func TestSignaturesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	const (
		private  = "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
		presence = "278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
		user     = "278d425bdf160c739803:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
	)
	if err := documented.checkChannel(private, "1234.1234", "private-foobar", ""); err != nil {
		t.Error(err)
	}
	if err := documented.checkChannel(presence, "1234.1234", "presence-foobar", `{"user_id":10,"user_info":{"name":"Mr. Channels"}}`); err != nil {
		t.Error(err)
	}
	if err := documented.checkUser(user, "1234.1234", `{"id":"12345"}`); err != nil {
		t.Error(err)
	}
	for auth, says := range map[string]string{
		"":                                   "missing",
		"278d425bdf160c739803":               "not KEY:SIGNATURE",
		"other" + private[20:]:               "another key",
		private[:len(private)-1] + "0":       "wrong",
		strings.ToUpper(private):             "another key",
		"278d425bdf160c739803:":              "wrong",
		private + ":{}":                      "wrong",
		"278d425bdf160c739803:" + private[:]: "wrong",
	} {
		if err := documented.checkChannel(auth, "1234.1234", "private-foobar", ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", auth, err, says)
		}
	}
	if documented.checkChannel(private, "1234.1235", "private-foobar", "") == nil || documented.checkChannel(private, "1234.1234", "private-foobar2", "") == nil {
		t.Error("a signature is good for another socket or channel")
	}
}

func TestRequestsAreAuthenticated(t *testing.T) {
	t.Parallel()
	const body = `{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
	good := "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f" +
		"&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
	now := time.Unix(1353088179, 0)
	check := func(query, method, path, body string, now time.Time) error {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		return documented.checkRequest(method, []string{path, "/apps/other"}, values, []byte(body), now)
	}
	if err := check(good, "POST", "/apps/3/events", body, now); err != nil {
		t.Error(err)
	}
	if err := check(good, "POST", "/apps/3/events", body, now.Add(600*time.Second)); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"late":      {check(good, "POST", "/apps/3/events", body, now.Add(601*time.Second)), "auth_timestamp"},
		"early":     {check(good, "POST", "/apps/3/events", body, now.Add(-601*time.Second)), "auth_timestamp"},
		"no time":   {check(strings.Replace(good, "auth_timestamp=1353088179", "", 1), "POST", "/apps/3/events", body, now), "auth_timestamp"},
		"far time":  {check(strings.Replace(good, "1353088179", "9223372036854775807", 1), "POST", "/apps/3/events", body, now), "auth_timestamp"},
		"version":   {check(strings.Replace(good, "1.0", "1.1", 1), "POST", "/apps/3/events", body, now), "auth_version"},
		"key":       {check(strings.Replace(good, "auth_key=2", "auth_key=3", 1), "POST", "/apps/3/events", body, now), "auth_key"},
		"body":      {check(good, "POST", "/apps/3/events", body+" ", now), "body_md5"},
		"no body":   {check(good, "POST", "/apps/3/events", "", now), "body_md5"},
		"no hash":   {check(strings.Replace(good, "body_md5", "x", 1), "POST", "/apps/3/events", body, now), "body_md5 is missing"},
		"path":      {check(good, "POST", "/apps/4/events", body, now), "auth_signature"},
		"method":    {check(good, "PUT", "/apps/3/events", body, now), "auth_signature"},
		"more":      {check(good+"&info=user_count", "POST", "/apps/3/events", body, now), "auth_signature"},
		"signature": {check(good[:len(good)-1]+"d", "POST", "/apps/3/events", body, now), "auth_signature"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, c.err, c.says)
		}
	}
}

func TestQueryAsItIsSigned(t *testing.T) {
	t.Parallel()
	values, _ := url.ParseQuery("b=2&Name=Something+else&auth_signature=x&auth_key=foo&a=%26&b=1")
	if got := signedQuery(values); got != "a=&&auth_key=foo&b=2&b=1&name=Something else" {
		t.Error(got)
	}
}
