package storage

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// validName tells whether s can be part of a file name: 1 to limit of a-z A-Z
// 0-9 . _ -, not beginning with a dot.
func validName(s string, limit int) bool {
	if s == "" || len(s) > limit || s[0] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// cleanText makes s fit to be shown: valid UTF-8 without control and formatting
// characters (those that turn the direction of text hide what a name ends in),
// trimmed, at most limit bytes.
func cleanText(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// cleanFileName is the last part of a path in either style, cleaned and cut to
// limit bytes with its extension kept.
func cleanFileName(s string, limit int) string {
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	s = cleanText(s, len(s))
	if strings.Trim(s, ".") == "" {
		return "file"
	}
	if len(s) <= limit {
		return s
	}
	ext := ""
	if i := strings.LastIndexByte(s, '.'); i > 0 && len(s)-i <= 16 {
		ext = s[i:]
	}
	return cleanText(s[:len(s)-len(ext)], limit-len(ext)) + ext
}
