package rtc

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what a peer may say. Browsers send 5 to 10 KiB in some 300 lines,
// with 3 m-lines and a dozen candidates. The longest lines are identity
// assertions.
const (
	maxSDPBytes   = 128 << 10
	maxSDPLines   = 2000
	maxLineBytes  = 8 << 10
	maxSections   = 8
	maxTokenBytes = 256
)

// description is an SDP document (RFC 8866) as far as it matters to us.
type description struct {
	attrs attributes
	media []*mediaLines
}

// mediaLines is an m-line and what belongs to it.
type mediaLines struct {
	kind    string
	port    uint16
	proto   string
	formats []string
	attrs   attributes
}

type attribute struct{ key, value string }

// attributes are a-lines in their order.
type attributes []attribute

// get returns the value of the first a-line of that name.
func (as attributes) get(key string) (string, bool) {
	for _, a := range as {
		if a.key == key {
			return a.value, true
		}
	}
	return "", false
}

func (as attributes) has(key string) bool {
	_, ok := as.get(key)
	return ok
}

func (as attributes) all(key string) []string {
	var out []string
	for _, a := range as {
		if a.key == key {
			out = append(out, a.value)
		}
	}
	return out
}

// or returns the value in the m-line, else that of the session.
func (m *mediaLines) or(d *description, key string) (string, bool) {
	if v, ok := m.attrs.get(key); ok {
		return v, true
	}
	return d.attrs.get(key)
}

// readSDP reads a document. Lines may end with a bare LF, and the last one not
// at all: scripts that read an offer from a file or trim it send such. Beyond
// that it is strict, but for the order of optional lines of the session.
func readSDP(raw []byte) (*description, *OfferError) {
	lines, err := splitSDP(raw)
	if err != nil {
		return nil, err
	}
	d := &description{}
	timed := false
	for i, l := range lines {
		var bad string
		switch key, value := l[0], l[2:]; {
		case i < len(sdpHead):
			bad = checkHead(i, key, value)
		case key == 'm':
			if !timed {
				return nil, refuse(CodeMalformedSDP, "there is no t= line before the first m-line")
			}
			bad = d.readMediaLine(value)
		case key == 'a':
			bad = d.readAttribute(value)
		case key == 't' && len(d.media) == 0:
			timed = true
			bad = checkTime(value)
		case key == 'c':
			bad = checkConnection(value)
		case key == 'b':
			bad = checkBandwidth(value)
		case strings.IndexByte("ik", key) >= 0, len(d.media) == 0 && strings.IndexByte("ueprz", key) >= 0:
		default:
			bad = "there must not be such a line here"
		}
		if bad != "" {
			return nil, refuse(CodeMalformedSDP, "line %d: %s", i+1, bad)
		}
	}
	switch {
	case len(lines) < len(sdpHead):
		return nil, refuse(CodeMalformedSDP, "v=, o= and s= lines are missing")
	case !timed:
		return nil, refuse(CodeMalformedSDP, "there is no t= line")
	case len(d.media) > maxSections:
		return nil, refuse(CodeTooManyTracks, "more than %d m-lines", maxSections)
	}
	return d, nil
}

// splitSDP cuts raw into lines, each of which has a letter and '='.
func splitSDP(raw []byte) ([]string, *OfferError) {
	switch {
	case len(raw) == 0:
		return nil, refuse(CodeMalformedSDP, "the offer is empty")
	case len(raw) > maxSDPBytes:
		return nil, refuse(CodeMalformedSDP, "the offer has more than %d bytes", maxSDPBytes)
	case !utf8.Valid(raw):
		return nil, refuse(CodeMalformedSDP, "the offer is not text in UTF-8")
	}
	lines := strings.Split(strings.TrimRight(string(raw), "\r\n"), "\n")
	if len(lines) > maxSDPLines {
		return nil, refuse(CodeMalformedSDP, "the offer has more than %d lines", maxSDPLines)
	}
	for i, l := range lines {
		l = strings.TrimSuffix(l, "\r")
		switch {
		case len(l) > maxLineBytes:
			return nil, refuse(CodeMalformedSDP, "line %d has more than %d bytes", i+1, maxLineBytes)
		case len(l) < 2 || l[0] < 'a' || l[0] > 'z' || l[1] != '=':
			return nil, refuse(CodeMalformedSDP, "line %d is not of the form x=value", i+1)
		case strings.ContainsFunc(l, isControl):
			return nil, refuse(CodeMalformedSDP, "line %d has control characters", i+1)
		}
		lines[i] = l
	}
	return lines, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// sdpHead are the lines that each document begins with (RFC 8866, section 5).
const sdpHead = "vos"

func checkHead(i int, key byte, value string) string {
	if key != sdpHead[i] {
		return "v=, o= and s= lines must come first, in this order"
	}
	f := strings.Fields(value)
	switch {
	case key == 'v' && value != "0":
		return "the version must be 0"
	case key == 'o' && (len(f) != 6 || !isNumber(f[1]) || !isNumber(f[2]) || f[3] != "IN" || f[4] != "IP4" && f[4] != "IP6"):
		return "o= must name a user, two numbers, IN, IP4 or IP6, and an address"
	}
	return ""
}

func checkTime(value string) string {
	if f := strings.Fields(value); len(f) != 2 || !isNumber(f[0]) || !isNumber(f[1]) {
		return "t= must hold two numbers"
	}
	return ""
}

func checkConnection(value string) string {
	if f := strings.Fields(value); len(f) != 3 || f[0] != "IN" || f[1] != "IP4" && f[1] != "IP6" {
		return "c= must hold IN, IP4 or IP6, and an address"
	}
	return ""
}

// checkBandwidth takes types that nobody has heard of, as it must.
func checkBandwidth(value string) string {
	kind, n, ok := strings.Cut(value, ":")
	if !ok || kind == "" || !isNumber(n) {
		return "b= must hold a type and a number"
	}
	return ""
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func (d *description) readMediaLine(value string) string {
	f := strings.Fields(value)
	if len(f) < 4 || !isToken(f[0]) {
		return "m= must hold a kind, a port, a protocol and formats"
	}
	number, span, spans := strings.Cut(f[1], "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || spans && !isNumber(span) {
		return "the port must be a number up to 65535"
	}
	for _, part := range strings.Split(f[2], "/") {
		if !isToken(part) {
			return "the protocol is malformed"
		}
	}
	d.media = append(d.media, &mediaLines{kind: f[0], port: uint16(port), proto: f[2], formats: f[3:]})
	return ""
}

func (d *description) readAttribute(value string) string {
	key, v, _ := strings.Cut(value, ":")
	if !isToken(key) {
		return "the name of the attribute is malformed"
	}
	a := attribute{key, strings.TrimSpace(v)}
	if n := len(d.media); n > 0 {
		d.media[n-1].attrs = append(d.media[n-1].attrs, a)
	} else {
		d.attrs = append(d.attrs, a)
	}
	return ""
}

// isToken follows the grammar of names (RFC 8866, section 9).
func isToken(s string) bool {
	return s != "" && len(s) <= maxTokenBytes && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]", r)
	}) < 0
}

// single says that none of the attributes appears twice with different values:
// there would be no telling which one is meant.
func (as attributes) single(keys ...string) *OfferError {
	for _, key := range keys {
		values := as.all(key)
		if slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
			return refuse(CodeMalformedSDP, "%s appears twice with different values", key)
		}
	}
	return nil
}
