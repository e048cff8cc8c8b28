package rtc_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

const (
	testSum = "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF"

	head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n"
	ours = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" +
		"a=fingerprint:sha-256 " + testSum + "\r\na=setup:actpass\r\n"
	audioLines = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n" + ours + "a=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n" +
		"a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtcp-fb:111 transport-cc\r\na=rtpmap:63 red/48000/2\r\n" +
		"a=extmap:4/sendrecv http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
	videoLines = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 102 103 104 105 45 46\r\n" + ours + "a=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\n" +
		"a=rtcp-fb:* nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\n" +
		"a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
		"a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=2\r\na=rtpmap:99 VP9/90000\r\na=fmtp:99 profile-id=0\r\n" +
		"a=rtpmap:100 H264/90000\r\na=fmtp:100 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n" +
		"a=rtpmap:101 H264/90000\r\na=fmtp:101 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r\n" +
		"a=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n" +
		"a=rtpmap:103 H264/90000\r\na=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n" +
		"a=rtpmap:104 rtx/90000\r\na=fmtp:104 apt=103\r\na=rtpmap:105 H265/90000\r\na=rtpmap:45 AV1/90000\r\na=rtpmap:46 rtx/90000\r\na=fmtp:46 apt=45\r\n" +
		"a=ssrc-group:FID 1000 2000\r\na=ssrc:1000 cname:x\r\na=ssrc:2000 cname:x\r\n" +
		"a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
	dataLines = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" + ours + "a=mid:2\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
	full      = head + audioLines + videoLines + dataLines
)

// offerOf puts m-lines into an offer whose bundle names just them.
func offerOf(mlines ...string) string {
	group := "BUNDLE"
	for _, m := range mlines {
		_, rest, _ := strings.Cut(m, "a=mid:")
		mid, _, _ := strings.Cut(rest, "\r\n")
		group += " " + mid
	}
	return strings.Replace(head, "BUNDLE 0 1 2", group, 1) + strings.Join(mlines, "")
}

func TestParseOffer(t *testing.T) {
	for _, dir := range []rtc.Direction{rtc.Publish, rtc.View} {
		o, err := rtc.ParseOffer([]byte(full), dir)
		if err != nil {
			t.Fatalf("%v: %v", dir, err)
		}
		if !o.HasData() || o.Direction() != dir {
			t.Errorf("%v: got data %v, direction %v", dir, o.HasData(), o.Direction())
		}
		want := []rtc.Codec{
			{MimeType: "video/VP8", ClockRate: 90000, PayloadType: 96, RTXPayloadType: 97},
			{MimeType: "video/VP9", ClockRate: 90000, PayloadType: 99, FMTP: "profile-id=0"},
			{MimeType: "video/H264", ClockRate: 90000, PayloadType: 103, RTXPayloadType: 104, FMTP: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
			{MimeType: "video/AV1", ClockRate: 90000, PayloadType: 45, RTXPayloadType: 46},
		}
		if got := o.Codecs(rtc.Video); !slices.Equal(got, want) {
			t.Errorf("%v: got video\n%+v, want\n%+v", dir, got, want)
		}
		want = []rtc.Codec{{MimeType: "audio/opus", ClockRate: 48000, Channels: 2, PayloadType: 111, FMTP: "minptime=10;useinbandfec=1"}}
		if got := o.Codecs(rtc.Audio); !slices.Equal(got, want) {
			t.Errorf("%v: got audio %+v, want %+v", dir, got, want)
		}
	}
}

func TestParseOffer_Variants(t *testing.T) {
	h264 := func(fmtp string) string {
		return offerOf("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + ours + "a=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 " + fmtp + "\r\n")
	}
	for name, tc := range map[string]struct {
		sdp string
		dir rtc.Direction
		ok  bool
	}{
		"no m=application":                   {offerOf(audioLines, videoLines), rtc.View, true},
		"audio alone":                        {offerOf(audioLines), rtc.Publish, true},
		"setup:active":                       {strings.ReplaceAll(full, "actpass", "active"), rtc.Publish, true},
		"publisher sendonly":                 {strings.ReplaceAll(full, "sendrecv", "sendonly"), rtc.Publish, true},
		"viewer recvonly":                    {strings.ReplaceAll(full, "sendrecv", "recvonly"), rtc.View, true},
		"direction by default":               {strings.ReplaceAll(full, "a=sendrecv\r\n", ""), rtc.View, true},
		"lower case hash":                    {strings.ReplaceAll(full, testSum, strings.ToLower(testSum)), rtc.View, true},
		"upper case algorithm":               {strings.ReplaceAll(full, "sha-256", "SHA-256"), rtc.View, true},
		"a weak fingerprint beside a strong": {strings.ReplaceAll(full, "a=setup", "a=fingerprint:sha-1 00:11\r\na=setup"), rtc.View, true},
		"last line not ended":                {strings.TrimSpace(full), rtc.Publish, true},
		"lines ended by LF":                  {strings.ReplaceAll(full, "\r\n", "\n"), rtc.Publish, true},
		"an empty line at the end":           {full + "\r\n", rtc.View, true},
		"bundle-only":                        {strings.Replace(full, "m=video 9", "m=video 0", 1) + "", rtc.View, false},
		"bundle-only with its mark": {strings.Replace(strings.Replace(full, "m=video 9", "m=video 0", 1), "a=mid:1\r\n",
			"a=mid:1\r\na=bundle-only\r\n", 1), rtc.View, true},
		"publisher with mode 0": {h264("packetization-mode=0;profile-level-id=42e01f"), rtc.Publish, true},
		"viewer with mode 0":    {h264("packetization-mode=0;profile-level-id=42e01f"), rtc.View, false},
		"main profile":          {h264("packetization-mode=1;profile-level-id=4d0028"), rtc.View, true},
		"high profile":          {h264("profile-level-id=640c1f; Packetization-Mode=1"), rtc.Publish, true},
		"4:4:4":                 {h264("packetization-mode=1;profile-level-id=f4001f"), rtc.Publish, false},
	} {
		if _, err := rtc.ParseOffer([]byte(tc.sdp), tc.dir); (err == nil) != tc.ok {
			t.Errorf("%s: got %v, want accepted %v", name, err, tc.ok)
		}
	}
}

func TestParseOffer_Refused(t *testing.T) {
	drop := func(line string) string { return strings.ReplaceAll(full, line, "") }
	swap := func(old, with string) string { return strings.ReplaceAll(full, old, with) }
	for name, tc := range map[string]struct {
		sdp  string
		dir  rtc.Direction
		code string
	}{
		"empty":                    {"", rtc.View, rtc.CodeMalformedSDP},
		"not SDP":                  {"hello", rtc.View, rtc.CodeMalformedSDP},
		"huge":                     {full + strings.Repeat("a=x\r\n", 100000), rtc.View, rtc.CodeMalformedSDP},
		"publisher recvonly":       {swap("a=sendrecv", "a=recvonly"), rtc.Publish, rtc.CodeWrongDirection},
		"publisher inactive":       {swap("a=sendrecv", "a=inactive"), rtc.Publish, rtc.CodeWrongDirection},
		"viewer sendonly":          {swap("a=sendrecv", "a=sendonly"), rtc.View, rtc.CodeWrongDirection},
		"viewer inactive":          {swap("a=sendrecv", "a=inactive"), rtc.View, rtc.CodeWrongDirection},
		"no ufrag":                 {drop("a=ice-ufrag:abcd\r\n"), rtc.View, rtc.CodeBadICE},
		"short ufrag":              {swap("ufrag:abcd", "ufrag:abc"), rtc.View, rtc.CodeBadICE},
		"no pwd":                   {drop("a=ice-pwd:0123456789012345678901\r\n"), rtc.View, rtc.CodeBadICE},
		"short pwd":                {swap("pwd:0123456789012345678901", "pwd:012345678901234567890"), rtc.View, rtc.CodeBadICE},
		"space in pwd":             {swap("pwd:0123456789", "pwd:01234 6789"), rtc.View, rtc.CodeBadICE},
		"no fingerprint":           {drop("a=fingerprint:sha-256 " + testSum + "\r\n"), rtc.View, rtc.CodeBadFingerprint},
		"sha-1":                    {swap("sha-256 "+testSum, "sha-1 "+testSum[:59]), rtc.View, rtc.CodeBadFingerprint},
		"md5":                      {swap("sha-256 "+testSum, "md5 "+testSum[:47]), rtc.View, rtc.CodeBadFingerprint},
		"short fingerprint":        {swap(testSum, testSum[:92]), rtc.View, rtc.CodeBadFingerprint},
		"fingerprint not hex":      {swap(testSum, strings.Replace(testSum, "01", "XX", 1)), rtc.View, rtc.CodeBadFingerprint},
		"fingerprint without hash": {swap("sha-256 "+testSum, "sha-256"), rtc.View, rtc.CodeBadFingerprint},
		"two audio":                {full + strings.Replace(audioLines, "mid:0", "mid:3", 1), rtc.View, rtc.CodeTooManyTracks},
		"two video":                {full + strings.Replace(videoLines, "mid:1", "mid:3", 1), rtc.View, rtc.CodeTooManyTracks},
		"data alone":               {head + dataLines, rtc.View, rtc.CodeNoMedia},
		"nothing at all":           {head, rtc.View, rtc.CodeNoMedia},
		"no audio codec":           {swap("opus/48000/2", "PCMU/8000"), rtc.View, rtc.CodeNoUsableCodec},
		"no bundle":                {drop("a=group:BUNDLE 0 1 2\r\n"), rtc.View, rtc.CodeNoBundle},
		"an m-line out of bundle":  {swap("BUNDLE 0 1 2", "BUNDLE 0 1"), rtc.View, rtc.CodeNoBundle},
		"no mid":                   {drop("a=mid:1\r\n"), rtc.View, rtc.CodeNoBundle},
		"one mid twice":            {swap("a=mid:1", "a=mid:0"), rtc.View, rtc.CodeBadBundle},
		"no rtcp-mux":              {drop("a=rtcp-mux\r\n"), rtc.View, rtc.CodeNoRTCPMux},
		"text":                     {full + "m=text 9 UDP/TLS/RTP/SAVPF 100\r\n", rtc.View, rtc.CodeUnsupportedMedia},
		"plain RTP":                {swap("UDP/TLS/RTP/SAVPF", "RTP/AVP"), rtc.View, rtc.CodeUnsupportedMedia},
		"BFCP":                     {swap("UDP/DTLS/SCTP webrtc-datachannel", "TCP/BFCP *"), rtc.View, rtc.CodeUnsupportedMedia},
		"disabled m-line":          {swap("m=video 9", "m=video 0"), rtc.View, rtc.CodeUnsupportedMedia},
	} {
		_, err := rtc.ParseOffer([]byte(tc.sdp), tc.dir)
		var oe *rtc.OfferError
		if !errors.As(err, &oe) || oe.Code != tc.code {
			t.Errorf("%s: got %v, want code %s", name, err, tc.code)
		}
		if err != nil && strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

func answerTo(t *testing.T, e *rtc.Endpoint, offer string, dir rtc.Direction) string {
	t.Helper()
	o, err := rtc.ParseOffer([]byte(offer), dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(rtc.SessionConfig{Offer: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(nil) })
	var d sdp.SessionDescription
	if err := d.Unmarshal(s.Answer()); err != nil {
		t.Fatalf("the answer is not SDP: %v\n%s", err, s.Answer())
	}
	for i, m := range d.MediaDescriptions {
		for _, key := range []string{"ice-ufrag", "ice-pwd", "fingerprint", "mid"} {
			if _, ok := m.Attribute(key); !ok {
				t.Errorf("m-line %d lacks %s", i, key)
			}
		}
		if setup, _ := m.Attribute("setup"); setup != "passive" {
			t.Errorf("m-line %d: got setup %q", i, setup)
		}
	}
	return string(s.Answer())
}

// RFC 7587, section 6.1: useinbandfec says what its sender wants to get, whatever
// the offer says and in whatever order.
func TestAnswer_AsksForFECOfOpus(t *testing.T) {
	const line = "a=fmtp:111 minptime=10;useinbandfec=1\r\n"
	e := listen(t, func(*rtc.Config) {})
	for name, offered := range map[string]string{
		"as browsers do": line,
		"other order":    "a=fmtp:111 useinbandfec=1;minptime=10\r\n",
		"with spaces":    "a=fmtp:111 stereo=1; useinbandfec=1\r\n",
		"not wanted":     "a=fmtp:111 useinbandfec=0\r\n",
		"no parameters":  "",
	} {
		for _, dir := range []rtc.Direction{rtc.Publish, rtc.View} {
			answer := answerTo(t, e, strings.Replace(full, line, offered, 1), dir)
			_, got, _ := strings.Cut(answer, "a=fmtp:111 ")
			got, _, _ = strings.Cut(got, "\r\n")
			if !slices.Contains(strings.Split(got, ";"), "useinbandfec=1") {
				t.Errorf("%s, %v: got %q", name, dir, got)
			}
		}
	}
}

func TestAnswer(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.ICELite = true })
	stereo := strings.Replace(full, "useinbandfec=1", "useinbandfec=1;sprop-stereo=1", 1)
	publish, view := answerTo(t, e, stereo, rtc.Publish), answerTo(t, e, full, rtc.View)
	both := []string{
		"a=ice-lite\r\n", "a=ice-options:ice2\r\n", "a=group:BUNDLE 0 1 2\r\n", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
		"m=video 9 UDP/TLS/RTP/SAVPF 96 97 99 103 104 45 46\r\n", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
		"a=rtcp-mux-only\r\n", "a=sctp-port:5000\r\n", "a=max-message-size:262144\r\n", "a=end-of-candidates\r\n",
		"a=rtcp-fb:96 transport-cc\r\n", "a=rtcp-fb:111 transport-cc\r\n", "a=extmap:4 http", "a=fmtp:97 apt=96\r\n", "a=fmtp:46 apt=45\r\n", "a=rtcp-fb:96 nack\r\n", "a=rtcp-fb:96 nack pli\r\n", "a=rtcp-fb:96 ccm fir\r\n",
		" typ host", " udp ", " tcptype passive",
	}
	for name, tc := range map[string]struct {
		sdp       string
		has, lack []string
	}{
		"publish": {
			publish,
			append(both, "a=recvonly\r\n", "stereo=1;sprop-stereo=1"),
			[]string{"a=ssrc", "a=msid:", "a=sendonly", "goog-remb", "a=ice-options:trickle", "a=rtcp-rsize", "a=bundle-only", "red/48000"},
		},
		"view": {
			view,
			append(both, "a=sendonly\r\n", "a=ssrc-group:FID ", "a=msid:lectern audio\r\n", "a=msid:lectern video\r\n"),
			[]string{"a=recvonly", "stereo"},
		},
	} {
		for _, want := range tc.has {
			if !strings.Contains(tc.sdp, want) {
				t.Errorf("%s: the answer lacks %q:\n%s", name, want, tc.sdp)
			}
		}
		for _, no := range tc.lack {
			if strings.Contains(tc.sdp, no) {
				t.Errorf("%s: the answer has %q:\n%s", name, no, tc.sdp)
			}
		}
	}
}

func TestAnswer_Advertised(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.AdvertiseIPs, c.DisableTCP = ips("192.0.2.7", "2001:db8::7"), true })
	sdp := answerTo(t, e, full, rtc.View)
	var got []string
	for _, l := range strings.Split(sdp, "\r\n") {
		if strings.HasPrefix(l, "a=candidate:") {
			got = append(got, strings.Fields(l)[4])
		}
	}
	if want := []string{"192.0.2.7", "2001:db8::7", "127.0.0.1"}; !slices.Equal(got, want) {
		t.Errorf("got candidates at %v, want %v", got, want)
	}
}

func TestSession_TwoAtOnceDiffer(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	o, err := rtc.ParseOffer([]byte(makeOffer(t, pc, &webrtc.OfferOptions{})), rtc.View)
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.NewSession(rtc.SessionConfig{Offer: o})
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.NewSession(rtc.SessionConfig{Offer: o})
	if err != nil {
		t.Fatal(err)
	}
	if a.ETag() == b.ETag() || a.SSRC(rtc.Video) == b.SSRC(rtc.Video) {
		t.Error("two sessions share their tag or SSRC")
	}
	if a.SSRC(rtc.Video) == 0 || a.RTXSSRC(rtc.Video) == 0 || a.RTXSSRC(rtc.Audio) != 0 || a.RemoteSSRC(rtc.Video) != 0 {
		t.Errorf("got SSRCs %d %d %d", a.SSRC(rtc.Video), a.RTXSSRC(rtc.Video), a.RTXSSRC(rtc.Audio))
	}
	if n := e.Stats().Sessions; n != 2 {
		t.Errorf("got %d sessions, want 2", n)
	}
}
