package rtsp

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"net/url"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
)

// realm is that of Basic and Digest.
const realm = "Lectern"

// errStale says that a digest was made for a nonce of another connection: the
// player may try again with that of this one.
var errStale = errors.New("rtsp: stale nonce")

// Names of the algorithms of Digest (RFC 7616, section 3.3).
const (
	algorithmMD5    = "MD5"
	algorithmSHA256 = "SHA-256"
)

// authenticate puts what the Authorization header says into req, unless the URL
// has a token. It returns errStale for a digest of another connection; a digest
// that is wrong is left without proof, for the Directory to refuse.
func (h *handler) authenticate(nonce string, r *base.Request, req *Request) error {
	if req.Credential != "" {
		return nil
	}
	a, ok := authorization(r.Header)
	switch {
	case !ok:
		return nil
	case a.Method == headers.AuthMethodBasic && a.BasicPass == "":
		req.Credential = a.Username // a player with but one field
		return nil
	case a.Method == headers.AuthMethodBasic:
		req.User, req.Credential = a.Username, a.BasicPass
		return nil
	case a.Nonce != nonce || a.Realm != realm:
		return errStale
	}
	req.User = a.Username
	req.Proven = h.proves(a, r)
	return nil
}

// authorization parses the header. The name of the method may be written in any
// case (RFC 9110, section 11.1).
func authorization(h base.Header) (headers.Authorization, bool) {
	var a headers.Authorization
	if len(h["Authorization"]) != 1 {
		return a, false
	}
	method, rest, ok := strings.Cut(h["Authorization"][0], " ")
	if !ok {
		return a, false
	}
	for _, known := range []string{"Basic", "Digest"} {
		if strings.EqualFold(method, known) {
			return a, a.Unmarshal(base.HeaderValue{known + " " + strings.TrimLeft(rest, " ")}) == nil
		}
	}
	return a, false
}

// proves verifies a digest without quality of protection, which is all that is
// offered (RFC 2069, section 2.1.2; RFC 7616, section 3.4.1).
func (h *handler) proves(a headers.Authorization, r *base.Request) bool {
	if h.s.cfg.DigestHA1 == nil || a.Username == "" || !samePlace(a.URI, r) {
		return false
	}
	algorithm, sum := algorithmMD5, md5.New()
	if a.Algorithm != nil && *a.Algorithm == headers.AuthAlgorithmSHA256 {
		algorithm, sum = algorithmSHA256, sha256.New()
	}
	ha1, ok := h.s.cfg.DigestHA1(a.Username, realm, algorithm)
	if !ok {
		return false
	}
	ha2 := hexOf(sum, string(r.Method)+":"+a.URI)
	want := hexOf(sum, ha1+":"+a.Nonce+":"+ha2)
	return subtle.ConstantTimeCompare([]byte(strings.ToLower(a.Response)), []byte(want)) == 1
}

func hexOf(h hash.Hash, text string) string {
	h.Reset()
	h.Write([]byte(text)) // never fails
	return hex.EncodeToString(h.Sum(nil))
}

// samePlace says whether the URI of a digest is that of the request, or that of
// the whole presentation while the request is about one track of it: players
// disagree about SETUP.
func samePlace(uri string, r *base.Request) bool {
	u, err := url.Parse(uri)
	if err != nil || r.URL == nil {
		return false
	}
	return presentation(u.Path) == presentation(r.URL.Path)
}

func presentation(path string) string {
	path, _, _ = strings.Cut(path, "/trackID=")
	return strings.Trim(path, "/")
}

// challenge offers Basic and Digest. Players that know no SHA-256 take the last
// Digest that they read.
func (h *handler) challenge(nonce string, stale bool) base.HeaderValue {
	offers := headers.Authenticate{Method: headers.AuthMethodBasic, Realm: realm}.Marshal()
	if h.s.cfg.DigestHA1 == nil {
		return offers
	}
	for _, algorithm := range []headers.AuthAlgorithm{headers.AuthAlgorithmSHA256, headers.AuthAlgorithmMD5} {
		a := headers.Authenticate{Method: headers.AuthMethodDigest, Realm: realm, Nonce: nonce, Algorithm: &algorithm}
		if stale {
			yes := "true"
			a.Stale = &yes
		}
		offers = append(offers, a.Marshal()...)
	}
	return offers
}
