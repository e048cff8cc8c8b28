package turn

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what other servers' shared secrets are used with
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

const maxUser = 64 // bytes of a user name of ours

// Credentials returns a user and a password for one person. They are good for
// making allocations until expires; these may live on (see Config). session is
// whom they belong to, for the quota, and need not be kept from the client: it
// goes into the user name as a digest. "" is somebody new each time.
func (s *Server) Credentials(session string) (user, password string, expires time.Time) {
	who := rand.Text()[:16]
	if session != "" {
		mac := hmac.New(sha256.New, s.cfg.Secret)
		mac.Write([]byte("session " + session))
		who = base32.StdEncoding.EncodeToString(mac.Sum(nil)[:10])
	}
	expires = time.Now().Add(s.cfg.CredentialLife).Truncate(time.Second)
	user = strconv.FormatInt(expires.Unix(), 10) + ":" + who
	return user, s.password(user), expires
}

// password is what belongs to user. Only we can know it.
func (s *Server) password(user string) string {
	mac := hmac.New(sha256.New, s.cfg.Secret)
	mac.Write([]byte("user " + user))
	return base64.RawStdEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// readUser takes a user name apart. It may be anybody's invention: that the
// password fits is for the library to find out.
func readUser(user string) (who string, expires time.Time, ok bool) {
	stamp, who, found := strings.Cut(user, ":")
	if !found || who == "" || len(user) > maxUser || len(stamp) > 12 {
		return "", time.Time{}, false
	}
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || unix < 0 {
		return "", time.Time{}, false
	}
	return who, time.Unix(unix, 0), true
}

// SharedSecretCredentials returns a user and a password for another TURN server
// with which a secret is shared, in the form that coturn (use-auth-secret) and
// most others take: the time of expiry and a name, and the base64 of its
// HMAC-SHA1.
func SharedSecretCredentials(secret, name string, expires time.Time) (user, password string) {
	user = strconv.FormatInt(expires.Unix(), 10) + ":" + name
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(user))
	return user, base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
