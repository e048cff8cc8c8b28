package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// The place of the results in docs/PERFORMANCE.md.
const (
	beginMark = "<!-- make bench begins -->"
	endMark   = "<!-- make bench ends -->"
)

// report is the Markdown of the results. It is printed as it grows.
type report struct {
	text   strings.Builder
	judged []string
}

func (r *report) line(format string, args ...any) {
	l := fmt.Sprintf(format, args...)
	fmt.Println(l)
	r.text.WriteString(l + "\n")
}

func (r *report) title(t string) { r.line("\n### %s\n", t) }

func (r *report) table(head []string, rows [][]string) {
	r.line("| %s |", strings.Join(head, " | "))
	r.line("|%s", strings.Repeat("---|", len(head)))
	for _, row := range rows {
		r.line("| %s |", strings.Join(row, " | "))
	}
	r.line("")
}

// bar notes whether a figure is within its bar.
func (r *report) bar(what string, got, most float64, unit string) {
	word := "met"
	if got > most {
		word = "**missed**"
	}
	r.judged = append(r.judged, fmt.Sprintf("| %s | %.2f%s | ≤ %.2f%s | %s |", what, got, unit, most, unit, word))
}

func (r *report) bars() {
	if len(r.judged) == 0 {
		return
	}
	r.title("Bars")
	r.line("| what | measured | bar | |")
	r.line("|---|---|---|---|")
	for _, j := range r.judged {
		r.line("%s", j)
	}
}

// replace puts the results between the marks in a file.
func (r *report) replace(file string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(beginMark))
	_, after, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return fmt.Errorf("%s has not both of %s and %s", file, beginMark, endMark)
	}
	text := string(before) + beginMark + "\n\n" + strings.TrimSpace(r.text.String()) + "\n\n" + endMark + string(after)
	return os.WriteFile(file, []byte(text), 0o644)
}

// median of a copy; zero for none.
func median[T cmp.Ordered](all []T) T { return quantile(all, .5) }

func quantile[T cmp.Ordered](all []T, q float64) T {
	var zero T
	if len(all) == 0 {
		return zero
	}
	s := slices.Sorted(slices.Values(all))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mib(bytes float64) float64 { return bytes / (1 << 20) }

func f(format string, args ...any) string { return fmt.Sprintf(format, args...) }
