package api

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// mutants is how many broken offers each way is sent.
const mutants = 150

// mutations break the lines of an offer, each in its way.
func mutations() []func(r *rand.Rand, lines []string) []string {
	replace := func(old, with string) func(*rand.Rand, []string) []string {
		return func(r *rand.Rand, lines []string) []string {
			return strings.Split(strings.ReplaceAll(strings.Join(lines, "\n"), old, with), "\n")
		}
	}
	at := func(change func(r *rand.Rand, line string) []string) func(*rand.Rand, []string) []string {
		return func(r *rand.Rand, lines []string) []string {
			i := r.IntN(len(lines))
			return slices.Concat(lines[:i], change(r, lines[i]), lines[i+1:])
		}
	}
	return []func(*rand.Rand, []string) []string{
		at(func(*rand.Rand, string) []string { return nil }),
		at(func(_ *rand.Rand, l string) []string { return []string{l, l} }),
		at(func(r *rand.Rand, l string) []string { return []string{l[:r.IntN(len(l)+1)]} }),
		at(func(r *rand.Rand, l string) []string { return []string{l + strings.Repeat("x", r.IntN(5000))} }),
		at(func(r *rand.Rand, l string) []string { return []string{"a=" + l} }),
		at(func(r *rand.Rand, l string) []string { return []string{strings.ToUpper(l)} }),
		at(func(r *rand.Rand, l string) []string { return []string{strings.ReplaceAll(l, " ", "  ")} }),
		at(func(r *rand.Rand, l string) []string {
			return []string{strings.Map(func(c rune) rune {
				if c >= '0' && c <= '9' && r.IntN(2) == 0 {
					return rune('0' + r.IntN(10))
				}
				return c
			}, l)}
		}),
		at(func(r *rand.Rand, l string) []string { return []string{l, string([]byte{0, 0xff, byte(r.IntN(256))})} }),
		at(func(r *rand.Rand, l string) []string { return []string{"m=video 9 UDP/TLS/RTP/SAVPF 96", l} }),
		func(r *rand.Rand, lines []string) []string { return lines[:r.IntN(len(lines))] },
		func(r *rand.Rand, lines []string) []string { return slices.Concat(lines, lines[r.IntN(len(lines)):]) },
		func(r *rand.Rand, lines []string) []string {
			i, j := r.IntN(len(lines)), r.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
			return lines
		},
		replace("a=recvonly", "a=inactive"), replace("a=sendonly", "a=recvonly"), replace("a=setup:actpass", "a=setup:passive"),
		replace("a=setup:actpass", "a=setup:active"), replace("sha-256", "md5"), replace("a=fingerprint:", "a=fingerprint:sha-1 00\na=x:"),
		replace("a=ice-pwd:", "a=ice-pwd:short\na=x:"), replace("a=ice-ufrag:", "a=x:"), replace("a=rtcp-mux", "a=x"),
		replace("BUNDLE", "LS"), replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), replace("m=audio 9", "m=audio 0"), replace("m=video", "m=image"),
		replace("opus", "speex"), replace("a=mid:", "a=mid:"+strings.Repeat("x", 300)), replace("webrtc-datachannel", "nonsense"),
		replace("a=mid:1", "a=mid:0"), replace("a=candidate:", "a=candidate:x "), replace("a=end", "a=candidate:\na=end"),
	}
}

// An offer that is broken in whatever way is refused with a 4xx, or answered by
// a session that works, quickly.
func TestPost_MutatedOffersAre4xxOrValid201(t *testing.T) {
	g := newGateway(t, nil)
	ways := mutations()
	for w, role := range both() {
		token := g.token("algebra", role)
		whole := strings.Split(string(newForeign(t, g, token, w == wayWHIP).offer(nil)), "\r\n")
		statuses := map[int]int{}
		r := rand.New(rand.NewPCG(1, uint64(len(w))))
		for i := range mutants {
			lines := slices.Clone(whole)
			for range 1 + i/len(ways) {
				if len(lines) > 0 {
					lines = ways[i%len(ways)](r, lines)
				}
			}
			offer := []byte(strings.Join(lines, "\r\n"))
			began := time.Now()
			resp := g.call(token, "POST", "/"+string(w)+"/algebra", offer, "Content-Type", "application/sdp", "Prefer", "wait")
			body, err := io.ReadAll(resp.Body)
			if took := time.Since(began); took > 2*time.Second || err != nil {
				t.Errorf("%s %d: took %v, %v", w, i, took, err)
			}
			statuses[resp.StatusCode]++
			switch {
			case resp.StatusCode == 201:
				if err := checkAnswer(body, offer); err != nil {
					t.Errorf("%s %d: %v in\n%s", w, i, err, body)
				}
				g.want(200, g.call(token, "DELETE", resp.Header.Get("Location"), nil), nil)
			case resp.StatusCode/100 != 4:
				t.Errorf("%s %d: got %d %s for\n%q", w, i, resp.StatusCode, body, offer)
			}
		}
		if statuses[201] == 0 || statuses[400] == 0 || statuses[422] == 0 {
			t.Errorf("%s: the mutations are of one kind: %v", w, statuses)
		}
		if live, _ := g.sessions.count(w); live != 0 || len(g.sessions.seats) != 0 {
			t.Errorf("%s: %d sessions are left", w, live)
		}
	}
}

// checkAnswer says what is wrong with an answer.
func checkAnswer(answer, offer []byte) error {
	d := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}
	parsed, err := d.Unmarshal()
	if err != nil {
		return err
	}
	if want := bytes.Count(append([]byte("\n"), offer...), []byte("\nm=")); len(parsed.MediaDescriptions) != want {
		return fmt.Errorf("got %d m-lines, want %d", len(parsed.MediaDescriptions), want)
	}
	for _, m := range parsed.MediaDescriptions {
		if _, there := m.Attribute("mid"); !there {
			return fmt.Errorf("an m-line without mid")
		}
	}
	if !bytes.Contains(answer, []byte("a=candidate:")) {
		return fmt.Errorf("no candidates")
	}
	return nil
}
