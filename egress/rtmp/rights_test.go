package rtmp_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/rtmp"
	"github.com/lectern/lectern/internal/clip"
	"github.com/lectern/lectern/stream"
)

// ffmpeg runs ffmpeg and returns what it said.
func ffmpeg(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-nostdin"}, args...)...).CombinedOutput()
	if ctx.Err() != nil {
		t.Error("ffmpeg was left hanging")
	}
	return string(out), err
}

func TestServer_TellsWhyInWords(t *testing.T) {
	h := newHouse(t)
	seen := make(chan rtmp.Target, 8)
	decide := func(target rtmp.Target) (rtmp.Playable, error) {
		seen <- target
		return rtmp.Playable{}, &rtmp.Refusal{Err: rtmp.ErrUnauthorized, Text: "the credential has expired"}
	}
	h.decide.Store(&decide)
	for query, want := range map[string]rtmp.Target{
		"?token=t":               {Credential: "t"},
		"?user=wei&pass=tulip":   {User: "wei", Credential: "tulip"},
		"?pass=t":                {Credential: "t"},
		"?user=t":                {Credential: "t"},
		"?token=t&user=u&pass=v": {Credential: "t"},
		"":                       {},
	} {
		said, err := ffmpeg(t, "-i", h.url("live/algebra"+query), "-f", "null", "-")
		if err == nil || !strings.Contains(said, "the credential has expired") {
			t.Errorf("%q: got %v, %q, want the reason", query, err, said)
		}
		if got := <-seen; got.User != want.User || got.Credential != want.Credential {
			t.Errorf("%q: got user %q and credential %q, want %q and %q", query, got.User, got.Credential, want.User, want.Credential)
		}
	}
}

func TestServer_PublishingIsRefusedAndSaysWhereTo(t *testing.T) {
	h := newHouse(t)
	said, err := ffmpeg(t, "-f", "lavfi", "-i", "anullsrc", "-t", "1", "-c:a", "aac", "-f", "flv", h.url("live/algebra?token=secret"))
	if err == nil || !strings.Contains(said, "WHIP") {
		t.Errorf("got %v, %q, want a refusal that names WHIP", err, said)
	}
}

func TestServer_EndOfTheRightEndsThePlayer(t *testing.T) {
	h := newHouse(t)
	watched := make(chan func(error), 1)
	stopped := make(chan struct{})
	decide := func(rtmp.Target) (rtmp.Playable, error) {
		return rtmp.Playable{Stream: h.src, Watch: func(ended func(error)) func() {
			watched <- ended
			return func() { close(stopped) }
		}}, nil
	}
	h.decide.Store(&decide)
	h.publish(clip.Make(t, clip.Spec{Video: stream.H264, Audio: true, Length: 2 * time.Second}), clip.Options{})
	done := make(chan struct{})
	go func() { // ended by the server
		defer close(done)
		_, _ = ffmpeg(t, "-i", h.url("live/algebra"), "-t", "60", "-f", "null", "-")
	}()
	ended := <-watched
	eventually(t, 8*time.Second, "it plays", func() bool { return h.srv.Stats().Players == 1 })
	began := time.Now()
	ended(errors.New("access: revoked"))
	ended(errors.New("access: expired"))
	for _, over := range []chan struct{}{done, stopped} {
		select {
		case <-over:
		case <-time.After(5 * time.Second):
			t.Fatal("the player was not ended within 5 s")
		}
	}
	t.Logf("ended after %v", time.Since(began))
}
