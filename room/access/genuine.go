package access

import (
	"crypto/sha256"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Genuine says whether a credential, with the user that comes along ("": none),
// is one that nobody finds by trying, and is what it says: a token of ours, a
// stored key, the login of a player, or a token that an issuer has signed with a
// key that is at hand. It asks nobody, and says nothing of revocation, rooms and
// rights: Admit does.
//
// Whoever counts wrong credentials lets these pass meanwhile, so that one who
// guesses does not lock out the others behind the same address. The key of the
// administrator is not tried, since a person may have chosen it.
func (a *Authority) Genuine(user, credential string) bool {
	switch {
	case credential == "" || len(credential) > maxCredential || len(user) > maxCredential || manyLines(credential):
		return false
	case strings.HasPrefix(credential, keyPrefix):
		return a.storedKeyOf(credential) != nil
	case strings.HasPrefix(user, playerPrefix):
		return len(user) <= maxLogin && equal(credential, a.playerPassword(user))
	}
	iss, isToken := peekIssuer(credential)
	if !isToken {
		return false
	}
	if iss == issuer {
		_, err := a.verifyOwn(credential)
		return err == nil
	}
	a.mu.Lock()
	out := a.outside
	a.mu.Unlock()
	if out == nil || out.issuers[iss] == nil {
		return false
	}
	return out.issuers[iss].signed(credential)
}

// signed says whether the issuer has signed a token that is good now, as far as
// one key at hand can tell: none is fetched, and not all of a set are tried, since
// this is asked on behalf of those who guess.
func (t *trusted) signed(credential string) bool {
	_, err := t.parser.ParseWithClaims(credential, jwt.MapClaims{}, func(token *jwt.Token) (any, error) {
		if t.set == nil {
			return t.key, nil
		}
		kid, _ := token.Header["kid"].(string)
		now := t.set.look(kid)
		if kid == "" || now.keys == nil {
			return nil, ErrInvalid
		}
		return now.keys[0](token)
	})
	return err == nil
}

// Invited says whether code is that of an invitation that is remembered, good or
// over. It is looked up by hash, and no code is found by trying.
func (a *Authority) Invited(code string) bool {
	if len(code) > maxCredential {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.codes[codeHash(code)]
	return ok
}

// codeHash is what the code of an invitation is known by, however it is written.
func codeHash(code string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.ToUpper(strings.TrimSpace(code))))
}
