package rtsp_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/textproto"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/rtsp"
	"github.com/lectern/lectern/stream"
)

const (
	digestUser     = "p.wei"
	digestPassword = "tulip"
)

func hexMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// withDigest lets digestUser in.
func withDigest(c *rtsp.Config) {
	inner := c.Directory
	c.Directory = openFunc(func(ctx context.Context, r rtsp.Request) (rtsp.Playable, error) {
		if r.User == digestUser && (r.Proven || r.Credential == digestPassword) {
			r.Credential = goodToken
		}
		return inner.Open(ctx, r)
	})
	c.DigestHA1 = func(user, realm, algorithm string) (string, bool) {
		text := user + ":" + realm + ":" + digestPassword
		if algorithm == "MD5" {
			return hexMD5(text), user == digestUser
		}
		return hexSHA256(text), user == digestUser
	}
}

type openFunc func(context.Context, rtsp.Request) (rtsp.Playable, error)

func (f openFunc) Open(ctx context.Context, r rtsp.Request) (rtsp.Playable, error) { return f(ctx, r) }

// ask sends a request and returns the status line and the headers.
func (c *client) ask(method, header string) (string, textproto.MIMEHeader) {
	c.t.Helper()
	c.cseq++
	_ = c.c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c.c, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", method, c.url, c.cseq, header)
	tp := textproto.NewReader(c.r)
	line, err := tp.ReadLine()
	if err != nil {
		c.t.Fatal(err)
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		c.t.Fatal(err)
	}
	n, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	_, _ = io.CopyN(io.Discard, c.r, n)
	return line, h
}

func nonceIn(t *testing.T, h textproto.MIMEHeader) string {
	t.Helper()
	m := regexp.MustCompile(`nonce="([^"]+)"`).FindStringSubmatch(strings.Join(h["Www-Authenticate"], "\n"))
	if m == nil {
		t.Fatalf("no nonce in %q", h["Www-Authenticate"])
	}
	return m[1]
}

func (c *client) digest(method, algorithm, password, nonce string) string {
	sum := hexMD5
	if algorithm == "SHA-256" {
		sum = hexSHA256
	}
	response := sum(sum(digestUser+":Lectern:"+password) + ":" + nonce + ":" + sum(method+":"+c.url))
	return fmt.Sprintf("Authorization: %s username=%q, realm=\"Lectern\", nonce=%q, uri=%q, response=%q, algorithm=%q\r\n",
		"digest", digestUser, nonce, c.url, response, algorithm)
}

func TestServer_OffersBasicAndDigestAndTakesBoth(t *testing.T) {
	f := serve(t, withDigest)
	publish(t, f.s, record(t, stream.VP8, "10"))
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		c := dial(t, f, "algebra")
		line, h := c.ask("DESCRIBE", "")
		offers := strings.Join(h["Www-Authenticate"], "\n")
		for _, want := range []string{"Basic realm", `algorithm="SHA-256"`, `algorithm="MD5"`} {
			if !strings.HasPrefix(line, "RTSP/1.0 401") || !strings.Contains(offers, want) {
				t.Fatalf("got %q with %q, want 401 with %s", line, offers, want)
			}
		}
		if line, _ = c.ask("DESCRIBE", c.digest("DESCRIBE", algorithm, digestPassword, nonceIn(t, h))); line != "RTSP/1.0 200 OK" {
			t.Errorf("%s: got %q, want 200", algorithm, line)
		}
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0",
		strings.Replace(f.url("algebra"), "rtsp://", "rtsp://"+digestUser+":"+digestPassword+"@", 1)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "vp8") {
		t.Errorf("ffprobe with user and password: %v, %q", err, out)
	}
}

func TestServer_RefusesWrongDigests(t *testing.T) {
	f := serve(t, withDigest)
	publish(t, f.s, record(t, stream.VP8, "10"))
	other := dial(t, f, "algebra")
	_, h := other.ask("DESCRIBE", "")
	strange := nonceIn(t, h)
	tests := []struct {
		name   string
		header func(c *client, nonce string) string
		stale  bool
	}{
		{"wrong password", func(c *client, n string) string { return c.digest("DESCRIBE", "MD5", "rose", n) }, false},
		{"of another method", func(c *client, n string) string { return c.digest("SETUP", "MD5", digestPassword, n) }, false},
		{"nonce of another connection", func(c *client, _ string) string { return c.digest("DESCRIBE", "MD5", digestPassword, strange) }, true},
		{"of another room", func(c *client, n string) string {
			elsewhere := &client{url: strings.Replace(c.url, "/algebra", "/physics", 1)}
			return elsewhere.digest("DESCRIBE", "MD5", digestPassword, n)
		}, false},
		{"unknown user", func(c *client, n string) string {
			return strings.Replace(c.digest("DESCRIBE", "MD5", digestPassword, n), digestUser, "nobody", 1)
		}, false},
		{"unknown algorithm", func(c *client, n string) string {
			return strings.Replace(c.digest("DESCRIBE", "MD5", digestPassword, n), `"MD5"`, `"MD4"`, 1)
		}, false},
	}
	for _, tt := range tests {
		c := dial(t, f, "algebra")
		_, h := c.ask("DESCRIBE", "")
		line, h := c.ask("DESCRIBE", tt.header(c, nonceIn(t, h)))
		if !strings.HasPrefix(line, "RTSP/1.0 401") {
			t.Errorf("%s: got %q, want 401", tt.name, line)
		}
		if stale := strings.Contains(strings.Join(h["Www-Authenticate"], ""), `stale="true"`); stale != tt.stale {
			t.Errorf("%s: got stale %v, want %v", tt.name, stale, tt.stale)
		}
	}
}

func TestServer_TellsWhyInWords(t *testing.T) {
	tests := map[string]struct {
		err  error
		want string
	}{
		"expired":     {&rtsp.Refusal{Err: rtsp.ErrUnauthorized, Text: "the credential has expired"}, "401 Unauthorized: the credential has expired"},
		"closed":      {&rtsp.Refusal{Err: rtsp.ErrForbidden, Text: "the room is closed"}, "403 Forbidden: the room is closed"},
		"unavailable": {&rtsp.Refusal{Err: rtsp.ErrUnavailable, Text: "nobody answers"}, "503 Service Unavailable: nobody answers"},
	}
	for name, tt := range tests {
		f := serve(t, func(c *rtsp.Config) {
			c.Directory = openFunc(func(context.Context, rtsp.Request) (rtsp.Playable, error) { return rtsp.Playable{}, tt.err })
		})
		if line, _ := f.describe(t, "algebra?token=x", ""); !strings.Contains(line, tt.want) {
			t.Errorf("%s: got %q, want %q", name, line, tt.want)
		}
	}
	f := serve(t, func(c *rtsp.Config) {
		c.Render = func(context.Context, *stream.Stream, rtsp.Want) (*stream.Stream, func(), error) {
			return nil, nil, &rtsp.Refusal{Err: rtsp.ErrUnsupported, Text: "ffmpeg is missing"}
		}
	})
	publish(t, f.s, record(t, stream.VP8, "10"))
	if line, _ := f.describe(t, "algebra?video=h264&token="+goodToken, ""); !strings.Contains(line, "415 Unsupported Media Type: ffmpeg is missing") {
		t.Errorf("no encoder: got %q, want 415 and why", line)
	}
}

func TestServer_PublishingIs405AndSaysWhereTo(t *testing.T) {
	c := dial(t, serve(t), "algebra")
	line, h := c.ask("ANNOUNCE", "Content-Type: application/sdp\r\nContent-Length: 0\r\n")
	if !strings.HasPrefix(line, "RTSP/1.0 405") || !strings.Contains(line, "WHIP") || h.Get("Allow") == "" {
		t.Errorf("got %q with %v", line, h)
	}
	if line, h = c.ask("OPTIONS", ""); line != "RTSP/1.0 200 OK" || strings.Contains(h.Get("Public"), "ANNOUNCE") {
		t.Errorf("OPTIONS: got %q with %v", line, h)
	}
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

func TestServer_EndOfTheRightEndsThePlayer(t *testing.T) {
	var ended func(error)
	stopped := make(chan struct{})
	var log lines
	f := serve(t, func(c *rtsp.Config) {
		inner := c.Directory
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		c.Directory = openFunc(func(ctx context.Context, r rtsp.Request) (rtsp.Playable, error) {
			p, err := inner.Open(ctx, r)
			p.Watch = func(f func(error)) func() {
				ended = f
				return func() { close(stopped) }
			}
			return p, err
		})
	})
	publish(t, f.s, record(t, stream.VP8, "10"))
	c := dial(t, f, "algebra?token="+goodToken)
	c.play()
	c.video()
	ended(errors.New("access: revoked"))
	began := time.Now()
	c.bye()
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("ended after %v, want at once", d)
	}
	eventually(t, "the watch is over", func() bool {
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	})
	eventually(t, "the log says why", func() bool { return log.has(`err="access: revoked"`) })
	if log.has(goodToken+"\"") || log.has("token=") {
		t.Error("the log holds the token")
	}
}
