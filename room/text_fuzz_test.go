package room

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzCleanName(f *testing.F) {
	f.Add("Ada Lovelace")
	f.Add(" \x00\u202e\xff ")
	f.Add(strings.Repeat("ö ", 80))
	f.Fuzz(func(t *testing.T, s string) {
		got := cleanName(s, 64)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 64 {
			t.Fatalf("got %q", got)
		}
		if got != strings.TrimSpace(got) || strings.IndexFunc(got, unicode.IsControl) >= 0 || strings.Contains(got, "  ") {
			t.Fatalf("got %q", got)
		}
		if again := cleanName(got, 64); again != got {
			t.Fatalf("cleaned twice: got %q, want %q", again, got)
		}
	})
}

func FuzzCleanText(f *testing.F) {
	f.Add("hello\r\n\tworld")
	f.Add("\x1b[31m\x00")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := cleanText(s, 100)
		if err != nil {
			return
		}
		if got == "" || len(got) > 100 || !utf8.ValidString(got) {
			t.Fatalf("got %q", got)
		}
		bad := func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }
		if strings.IndexFunc(got, bad) >= 0 {
			t.Fatalf("got %q", got)
		}
	})
}
