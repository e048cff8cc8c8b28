package room

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanName makes one line of printing characters of s, at most limit of them.
func cleanName(s string, limit int) string {
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsControl(c), deceives(c):
			return -1
		}
		return c
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	n := 0
	for i := range s {
		if n == limit {
			return strings.TrimSpace(s[:i])
		}
		n++
	}
	return s
}

// deceives says whether c is invisible or changes the direction of what
// follows, so that one name could look like another. Joiners are left: scripts
// and emoji need them.
func deceives(c rune) bool {
	switch {
	case c >= 0x202A && c <= 0x202E, c >= 0x2066 && c <= 0x2069, c == 0x200E, c == 0x200F:
		return true
	case c == 0x200B, c == 0x2060, c == 0xFEFF, c == 0x00AD:
		return true
	}
	return false
}

// cleanText removes what is not text from s: control characters but line ends
// and tabs, and white space around. It returns ErrBadText if nothing is left.
func cleanText(s string, limit int) (string, error) {
	if !utf8.ValidString(s) {
		return "", ErrBadText
	}
	if len(s) > limit {
		return "", ErrTooLong
	}
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, s)
	s = strings.TrimSpace(s)
	if s == "" {
		return "", ErrBadText
	}
	return s, nil
}
