package api

import (
	"mime"
	"strings"
)

// Media types of the signalling.
const (
	typeSDP     = "application/sdp"
	typeSDPFrag = "application/trickle-ice-sdpfrag" // RFC 8840
	typeJSON    = "application/json"
)

// mediaType is the type/subtype of a Content-Type header, in lower case and
// without parameters; "" for a missing or malformed one (RFC 9110, section
// 8.3.1).
func mediaType(header string) string {
	t, _, err := mime.ParseMediaType(header)
	if err != nil || !strings.Contains(t, "/") {
		return ""
	}
	return t
}

// bearer takes the credential out of an Authorization header (RFC 6750). The
// name of the scheme is compared without case (RFC 9110, section 11.1). ok is
// false for another scheme, a missing header or an empty credential.
func bearer(header string) (credential string, ok bool) {
	scheme, rest, found := strings.Cut(strings.TrimSpace(header), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	credential = strings.TrimSpace(rest)
	if credential == "" || strings.ContainsAny(credential, " \t,") {
		return "", false
	}
	return credential, true
}

// precondition is what an If-Match header asks for (RFC 9110, section 13.1.1).
type precondition struct {
	missing bool
	any     bool     // *, or "*" as some clients quote it
	tags    []string // strong tags, with their quotes
}

// maxETags bounds the entity tags that are looked at in one header.
const maxETags = 16

// parseIfMatch reads the field lines of If-Match. What is no entity tag is
// skipped, weak tags too: If-Match compares strongly, so that they never match.
func parseIfMatch(lines []string) precondition {
	p := precondition{missing: true}
	for _, rest := range lines {
		if strings.Trim(rest, " \t,") != "" {
			p.missing = false
		}
		for len(p.tags) < maxETags {
			rest = strings.TrimLeft(rest, " \t,")
			if rest == "" {
				break
			}
			var tag string
			tag, rest = cutETag(rest)
			switch tag {
			case "":
			case "*", `"*"`:
				p.any = true
			default:
				p.tags = append(p.tags, tag)
			}
		}
	}
	return p
}

// cutETag takes one element from the front of a list of entity tags. tag is ""
// for one that cannot match.
func cutETag(list string) (tag, rest string) {
	weak := strings.HasPrefix(list, "W/")
	if weak {
		list = list[2:]
	}
	if !strings.HasPrefix(list, `"`) {
		tag, rest, _ = strings.Cut(list, ",")
		if tag = strings.TrimSpace(tag); tag == "*" && !weak {
			return tag, rest
		}
		return "", rest
	}
	end := strings.IndexByte(list[1:], '"')
	if end < 0 {
		return "", ""
	}
	tag, rest = list[:end+2], list[end+2:]
	if weak {
		return "", rest
	}
	return tag, rest
}

// matches says whether one of the tags is tag.
func (p precondition) matches(tag string) bool {
	for _, t := range p.tags {
		if t == tag {
			return true
		}
	}
	return false
}

// prefersWait says whether the Prefer header (RFC 7240) holds the preference
// "wait", with or without a value.
func prefersWait(lines []string) bool {
	for _, line := range lines {
		for _, pref := range splitOutsideQuotes(line, ',') {
			name := splitOutsideQuotes(pref, ';')[0]
			name, _, _ = strings.Cut(name, "=")
			if strings.EqualFold(strings.TrimSpace(name), "wait") {
				return true
			}
		}
	}
	return false
}

// splitOutsideQuotes splits s at sep, but not within quoted strings (RFC 9110,
// section 5.6.4). There is always one part at least.
func splitOutsideQuotes(s string, sep byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
