package rtsp_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// client is a player that speaks RTSP by hand over TCP, so that a test sees
// each packet as it came.
type client struct {
	t       *testing.T
	c       net.Conn
	r       *bufio.Reader
	url     string
	agent   string // User-Agent; "" sends none
	session string
	cseq    int
}

func dial(t *testing.T, f *fixture, path string) *client {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(1 << 16)
	return &client{t: t, c: c, r: bufio.NewReader(c), url: f.url(path)}
}

func (c *client) do(method, url, header string) (textproto.MIMEHeader, string) {
	c.t.Helper()
	c.cseq++
	if c.agent != "" {
		header += "User-Agent: " + c.agent + "\r\n"
	}
	if c.session != "" {
		header += "Session: " + c.session + "\r\n"
	}
	_ = c.c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c.c, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s\r\n", method, url, c.cseq, header)
	tp := textproto.NewReader(c.r)
	line, err := tp.ReadLine()
	if err != nil || !strings.Contains(line, " 200 ") {
		c.t.Fatalf("%s: got %q, %v", method, line, err)
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		c.t.Fatal(err)
	}
	n, _ := strconv.Atoi(h.Get("Content-Length"))
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		c.t.Fatal(err)
	}
	if s, _, _ := strings.Cut(h.Get("Session"), ";"); s != "" {
		c.session = s
	}
	return h, string(body)
}

// play goes through DESCRIBE, SETUP of all tracks, and PLAY.
func (c *client) play() textproto.MIMEHeader {
	c.t.Helper()
	_, sdp := c.do("DESCRIBE", c.url, "")
	controls := regexp.MustCompile(`(?m)^a=control:(rtsp://.*?)\r?$`).FindAllStringSubmatch(sdp, -1)
	if len(controls) != strings.Count(sdp, "m=") {
		c.t.Fatalf("got no absolute control URL for each track in %q", sdp)
	}
	for i, m := range controls {
		c.do("SETUP", m[1], fmt.Sprintf("Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n", 2*i, 2*i+1))
	}
	h, _ := c.do("PLAY", c.url+"/", "")
	return h
}

// next is the next interleaved packet.
func (c *client) next() (channel int, payload []byte, err error) {
	_ = c.c.SetDeadline(time.Now().Add(5 * time.Second))
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0] != '$' {
		return 0, nil, fmt.Errorf("got %q between packets", head)
	}
	payload = make([]byte, binary.BigEndian.Uint16(head[2:]))
	_, err = io.ReadFull(c.r, payload)
	return int(head[1]), payload, err
}

// video is the next packet of the first track.
func (c *client) video() *rtp.Packet {
	c.t.Helper()
	for {
		ch, b, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if ch != 0 {
			continue
		}
		var p rtp.Packet
		if err := p.Unmarshal(b); err != nil {
			c.t.Fatal(err)
		}
		return &p
	}
}

// bye reads to the end and reports whether an RTCP BYE came.
func (c *client) bye() bool {
	c.t.Helper()
	bye := false
	for end := time.Now().Add(5 * time.Second); ; {
		if time.Now().After(end) {
			c.t.Fatal("the session was not ended")
		}
		ch, b, err := c.next()
		if err != nil {
			return bye
		}
		if ch%2 == 0 {
			continue
		}
		ps, err := rtcp.Unmarshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, p := range ps {
			if _, ok := p.(*rtcp.Goodbye); ok {
				bye = true
			}
		}
	}
}

func keyframeH264(p []byte) bool {
	return p[0]&0x1f == 24 || p[0]&0x1f == 7 || p[0]&0x1f == 5 || (p[0]&0x1f == 28 && p[1] == 0x85)
}
