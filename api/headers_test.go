package api

import (
	"slices"
	"strings"
	"testing"
)

func TestMediaType_IgnoresCaseAndParameters(t *testing.T) {
	for header, want := range map[string]string{
		"application/sdp":                        "application/sdp",
		"Application/SDP":                        "application/sdp",
		"application/sdp; charset=utf-8":         "application/sdp",
		" application/trickle-ice-sdpfrag ;a=b ": "application/trickle-ice-sdpfrag",
		"":                                       "",
		"sdp":                                    "",
		"application/sdp, application/json":      "",
		"application/sdp; charset":               "",
		"application/sdp;" + strings.Repeat("=", 9): "",
	} {
		if got := mediaType(header); got != want {
			t.Errorf("mediaType(%q): got %q, want %q", header, got, want)
		}
	}
}

func TestBearer_TakesSchemeWithoutCase(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc":     "abc",
		"bearer abc":     "abc",
		"BEARER   abc  ": "abc",
		"Basic abc":      "",
		"Bearer":         "",
		"Bearer ":        "",
		"Bearer a b":     "",
		"Bearer a,b":     "",
		"":               "",
	} {
		got, ok := bearer(header)
		if got != want || ok != (want != "") {
			t.Errorf("bearer(%q): got %q, %v, want %q", header, got, ok, want)
		}
	}
}

func TestParseIfMatch(t *testing.T) {
	for _, tt := range []struct {
		lines   []string
		missing bool
		any     bool
		tags    []string
	}{
		{nil, true, false, nil},
		{[]string{"*"}, false, true, nil},
		{[]string{`"*"`}, false, true, nil},
		{[]string{`"a"`}, false, false, []string{`"a"`}},
		{[]string{`"a", W/"b" , "c,d"`}, false, false, []string{`"a"`, `"c,d"`}},
		{[]string{`"a"`, `"b"`}, false, false, []string{`"a"`, `"b"`}},
		{[]string{`a`}, false, false, nil},
		{[]string{`"open`}, false, false, nil},
		{[]string{``}, true, false, nil},
		{[]string{`, `}, true, false, nil},
		{[]string{`W/"a"`}, false, false, nil},
		{[]string{`W/*`}, false, false, nil},
	} {
		p := parseIfMatch(tt.lines)
		if p.missing != tt.missing || p.any != tt.any || !slices.Equal(p.tags, tt.tags) {
			t.Errorf("parseIfMatch(%q): got %+v, want %+v", tt.lines, p, tt)
		}
	}
}

func TestPrefersWait(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{"wait"}, true},
		{[]string{"Wait=10"}, true},
		{[]string{"respond-async, wait=5"}, true},
		{[]string{"respond-async", "wait; x=y"}, true},
		{[]string{"waiting"}, false},
		{[]string{"handling=wait"}, false},
		{[]string{`wait="60"`}, true},
		{[]string{`return=minimal; foo="some, thing", wait=60`}, true},
		{[]string{`foo="x, wait"`}, false},
		{[]string{`foo="x\", wait"`}, false},
		{[]string{` WAIT `}, true},
	} {
		if got := prefersWait(tt.lines); got != tt.want {
			t.Errorf("prefersWait(%q): got %v, want %v", tt.lines, got, tt.want)
		}
	}
}

func TestDisposition_NamesTheFileSafely(t *testing.T) {
	for name, want := range map[string]string{
		"notes.pdf":         `attachment; filename="notes.pdf"`,
		"":                  `attachment`,
		`a"b\c/d.txt`:       `attachment; filename="a_b_c_d.txt"; filename*=UTF-8''a%22b%5Cc%2Fd.txt`,
		"课件.pdf":            `attachment; filename="__.pdf"; filename*=UTF-8''%E8%AF%BE%E4%BB%B6.pdf`,
		"x\r\nSet-Cookie:y": `attachment; filename="x__Set-Cookie:y"; filename*=UTF-8''x%0D%0ASet-Cookie%3Ay`,
	} {
		if got := disposition(name); got != want {
			t.Errorf("disposition(%q): got %s, want %s", name, got, want)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{"", "*", `"a", W/"b"`, "Bearer x", "wait=1;,", "application/sdp; a=\"b", `""`, `",`, "W/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := parseIfMatch([]string{s})
		for _, tag := range p.tags {
			if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' || strings.Contains(tag[1:len(tag)-1], `"`) {
				t.Errorf("parseIfMatch(%q): tag %q is none", s, tag)
			}
		}
		if cred, ok := bearer(s); ok && (cred == "" || strings.ContainsAny(cred, " ,")) {
			t.Errorf("bearer(%q): credential %q", s, cred)
		}
		if m := mediaType(s); m != strings.ToLower(m) {
			t.Errorf("mediaType(%q): got %q", s, m)
		}
		if d := disposition(s); strings.ContainsAny(d, "\r\n\x00") {
			t.Errorf("disposition(%q): got %q", s, d)
		}
		prefersWait([]string{s})
		cleanName(s)
		safeMedia(s)
	})
}
