package rtc_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lectern/lectern/internal/rtc"
)

// spoil replaces in the whole offer.
func spoil(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(full) }

// once replaces the first occurrence only.
func once(old, with string) string { return strings.Replace(full, old, with, 1) }

const sum384 = testSum + ":" + "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF"

type clause struct {
	sdp  string
	dir  rtc.Direction
	code string // "": served
}

func checkClauses(t *testing.T, clauses map[string]clause) {
	t.Helper()
	for name, c := range clauses {
		if c.dir == 0 {
			c.dir = rtc.Publish
		}
		_, err := rtc.ParseOffer([]byte(c.sdp), c.dir)
		var oe *rtc.OfferError
		switch {
		case c.code == "" && err != nil:
			t.Errorf("%s: got %v, want it served", name, err)
		case c.code != "" && (!errors.As(err, &oe) || oe.Code != c.code):
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
	}
}

func TestParseOffer_Document(t *testing.T) {
	const bad = rtc.CodeMalformedSDP
	checkClauses(t, map[string]clause{
		"UTF-8 BOM":                  {"\xef\xbb\xbf" + full, 0, bad},
		"NUL":                        {once("s=-", "s=\x00"), 0, bad},
		"not UTF-8":                  {once("s=-", "s=\xff"), 0, bad},
		"binary":                     {"\x00\x01\x02\xff\xfe", 0, bad},
		"JSON":                       {`{"type":"offer","sdp":"v=0"}`, 0, bad},
		"CR alone":                   {strings.ReplaceAll(full, "\r\n", "\r"), 0, bad},
		"no v=":                      {once("v=0\r\n", ""), 0, bad},
		"v=1":                        {once("v=0", "v=1"), 0, bad},
		"no o=":                      {once("o=- 1 2 IN IP4 127.0.0.1\r\n", ""), 0, bad},
		"o= cut short":               {once("o=- 1 2 IN IP4 127.0.0.1", "o=- 1 2"), 0, bad},
		"o= with letters for digits": {once("o=- 1 2", "o=- x 2"), 0, bad},
		"o= with huge numbers":       {once("o=- 1 2", "o=- 99999999999999999999999 2"), 0, ""},
		"no s=":                      {once("s=-\r\n", ""), 0, bad},
		"no t=":                      {once("t=0 0\r\n", ""), 0, bad},
		"t= with one number":         {once("t=0 0", "t=0"), 0, bad},
		"v= only":                    {"v=0\r\n", 0, bad},
		"v=, o=, s= only":            {"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\n", 0, bad},
		"no m-lines":                 {head, 0, rtc.CodeNoMedia},
		"an unknown letter":          {once("t=0 0", "t=0 0\r\nx=1"), 0, bad},
		"an empty line":              {once("t=0 0", "t=0 0\r\n"), 0, bad},
		"a line without =":           {once("t=0 0", "t=0 0\r\nhello"), 0, bad},
		"an attribute without name":  {once("t=0 0", "t=0 0\r\na=:x"), 0, bad},
		"c= of another network":      {spoil("c=IN IP4 0.0.0.0", "c=ATM NSAP 1"), 0, bad},
		"b= without number":          {once("a=mid:0", "b=AS:x\r\na=mid:0"), 0, bad},
		"b= of unknown type":         {once("a=mid:0", "b=FOO:5\r\na=mid:0"), 0, ""},
		"i=, u=, e=, p=, k=":         {once("t=0 0", "i=x\r\nu=http://a b\r\ne=x\r\np=1\r\nt=0 0\r\nk=clear:x"), 0, ""},
		"port out of range":          {once("m=audio 9", "m=audio 65536"), 0, bad},
		"port of letters":            {once("m=audio 9", "m=audio x"), 0, bad},
		"port negative":              {once("m=audio 9", "m=audio -1"), 0, bad},
		"m-line without formats":     {once("m=audio 9 UDP/TLS/RTP/SAVPF 111 63", "m=audio 9 UDP/TLS/RTP/SAVPF"), 0, bad},
		"a line of 9000 bytes":       {full + "a=" + strings.Repeat("x", 9000) + "\r\n", 0, bad},
		"2001 lines":                 {full + strings.Repeat("a=x\r\n", 2000), 0, bad},
		"an attribute 1000 times":    {full + strings.Repeat("a=x:y\r\n", 1000), 0, ""},
		"9 m-lines":                  {full + strings.Repeat("m=text 9 RTP/AVP 0\r\n", 9), 0, rtc.CodeTooManyTracks},
		"m=image":                    {full + "m=image 9 udptl t38\r\n", 0, rtc.CodeUnsupportedMedia},
		"an unknown kind":            {full + "m=smell 9 UDP/TLS/RTP/SAVPF 96\r\n", 0, rtc.CodeUnsupportedMedia},
		"an unknown protocol":        {spoil("UDP/TLS/RTP/SAVPF", "CARRIER/PIGEON"), 0, rtc.CodeUnsupportedMedia},
		"RTP/SAVPF of old clients":   {spoil("UDP/TLS/RTP/SAVPF", "RTP/SAVPF"), 0, ""},
	})
}

func TestParseOffer_Directions(t *testing.T) {
	const wrong = rtc.CodeWrongDirection
	at := func(level string) string { return spoil("a=sendrecv\r\n", "", "t=0 0\r\n", "t=0 0\r\na="+level+"\r\n") }
	checkClauses(t, map[string]clause{
		"WHIP recvonly of the session":      {at("recvonly"), rtc.Publish, wrong},
		"WHIP inactive of the session":      {at("inactive"), rtc.Publish, wrong},
		"WHEP sendonly of the session":      {at("sendonly"), rtc.View, wrong},
		"WHEP inactive of the session":      {at("inactive"), rtc.View, wrong},
		"WHIP sendonly of the session":      {at("sendonly"), rtc.Publish, ""},
		"WHEP recvonly of the session":      {at("recvonly"), rtc.View, ""},
		"the m-line beats the session":      {once("t=0 0\r\n", "t=0 0\r\na=inactive\r\n"), rtc.View, ""},
		"WHIP with one m-line recvonly":     {once("a=sendrecv", "a=recvonly"), rtc.Publish, wrong},
		"WHEP with one m-line inactive":     {once("a=sendrecv", "a=inactive"), rtc.View, wrong},
		"two directions in one m-line":      {once("a=sendrecv", "a=sendonly\r\na=recvonly"), rtc.View, rtc.CodeMalformedSDP},
		"one direction said twice the same": {once("a=sendrecv", "a=sendrecv\r\na=sendrecv"), rtc.View, ""},
	})
}

func TestParseOffer_ICECredentials(t *testing.T) {
	const bad = rtc.CodeBadICE
	ufrag := func(v string) string { return spoil("ufrag:abcd", "ufrag:"+v) }
	pwd := func(v string) string { return spoil("pwd:0123456789012345678901", "pwd:"+v) }
	checkClauses(t, map[string]clause{
		"ufrag of 3":                     {ufrag("abc"), 0, bad},
		"ufrag of 4":                     {ufrag("ab/+"), 0, ""},
		"ufrag of 256":                   {ufrag(strings.Repeat("a", 256)), 0, ""},
		"ufrag of 257":                   {ufrag(strings.Repeat("a", 257)), 0, bad},
		"ufrag empty":                    {ufrag(""), 0, bad},
		"ufrag with a space":             {ufrag("ab cd"), 0, bad},
		"ufrag with a colon":             {ufrag("ab:cd"), 0, bad},
		"ufrag with -":                   {ufrag("ab-cd"), 0, bad},
		"ufrag with _":                   {ufrag("ab_cd"), 0, bad},
		"ufrag with !":                   {ufrag("abc!"), 0, bad},
		"ufrag with a letter of no ICE":  {ufrag("abcé"), 0, bad},
		"pwd of 21":                      {pwd("012345678901234567890"), 0, bad},
		"pwd of 257":                     {pwd(strings.Repeat("a", 257)), 0, bad},
		"pwd with @":                     {pwd("012345678901234567890@"), 0, bad},
		"pwd of base64 with its padding": {pwd("012345678901234567890w=="), 0, ""},
		"pwd of padding":                 {pwd(strings.Repeat("=", 22)), 0, bad},
		"ufrag twice, different":         {once("a=ice-ufrag:abcd", "a=ice-ufrag:abcd\r\na=ice-ufrag:efgh"), 0, rtc.CodeMalformedSDP},
		"ufrag short in a later m-line":  {full[:len(head+audioLines)] + strings.Replace(full[len(head+audioLines):], "ufrag:abcd", "ufrag:a", 1), 0, bad},
		"a transport for each m-line":    {full[:len(head+audioLines)] + strings.Replace(full[len(head+audioLines):], "ufrag:abcd", "ufrag:efgh", 1), 0, ""},
		"at session level": {once("t=0 0\r\n", "t=0 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 "+
			testSum+"\r\na=setup:actpass\r\n"), 0, ""},
		"options": {once("t=0 0\r\n", "t=0 0\r\na=ice-options:trickle renomination google-ice\r\n"), 0, ""},
	})
}

func TestParseOffer_Fingerprints(t *testing.T) {
	const bad = rtc.CodeBadFingerprint
	line := "a=fingerprint:sha-256 " + testSum
	with := func(v string) string { return spoil(line, v) }
	checkClauses(t, map[string]clause{
		"md5":                             {with("a=fingerprint:md5 " + testSum[:47]), 0, bad},
		"md2":                             {with("a=fingerprint:md2 " + testSum[:47]), 0, bad},
		"sha-1":                           {with("a=fingerprint:sha-1 " + testSum[:59]), 0, bad},
		"sha-224":                         {with("a=fingerprint:sha-224 " + testSum[:83]), 0, bad},
		"an unknown hash":                 {with("a=fingerprint:blake3 " + testSum), 0, bad},
		"sha-384":                         {with("a=fingerprint:sha-384 " + sum384), 0, ""},
		"sha-512 of the wrong length":     {with("a=fingerprint:sha-512 " + testSum), 0, bad},
		"md5 beside sha-256":              {with("a=fingerprint:md5 " + testSum[:47] + "\r\n" + line), 0, ""},
		"sha-384 malformed beside":        {with(line + "\r\na=fingerprint:sha-384 00"), 0, bad},
		"empty":                           {with("a=fingerprint:"), 0, bad},
		"no sum":                          {with("a=fingerprint:sha-256"), 0, bad},
		"no colons":                       {with("a=fingerprint:sha-256 " + strings.ReplaceAll(testSum, ":", "")), 0, bad},
		"a colon missing":                 {with("a=fingerprint:sha-256 " + strings.Replace(testSum, ":", "", 1)), 0, bad},
		"a digit missing":                 {with("a=fingerprint:sha-256 " + testSum[1:]), 0, bad},
		"not hexadecimal":                 {with("a=fingerprint:sha-256 " + strings.Replace(testSum, "01", "GG", 1)), 0, bad},
		"one byte more":                   {with(line + ":00"), 0, bad},
		"a word behind":                   {with(line + " x"), 0, bad},
		"spaces for colons":               {with("a=fingerprint:sha-256 " + strings.ReplaceAll(testSum, ":", " ")), 0, bad},
		"lower case":                      {with(strings.ToLower(line)), 0, ""},
		"m-lines with different ones":     {once(line, "a=fingerprint:sha-256 "+strings.Replace(testSum, "01", "02", 1)), 0, bad},
		"the same ones of several hashes": {with(line + "\r\na=fingerprint:sha-384 " + sum384), 0, ""},
	})
}

func TestParseOffer_SetupAndBundle(t *testing.T) {
	setup := func(v string) string { return spoil("setup:actpass", "setup:"+v) }
	group := func(v string) string { return spoil("a=group:BUNDLE 0 1 2", v) }
	checkClauses(t, map[string]clause{
		"setup active":               {setup("active"), 0, ""},
		"setup passive":              {setup("passive"), 0, ""},
		"setup holdconn":             {setup("holdconn"), 0, rtc.CodeBadSetup},
		"setup of nonsense":          {setup("x"), 0, rtc.CodeBadSetup},
		"setup empty":                {setup(""), 0, rtc.CodeBadSetup},
		"setup passive in one":       {once("setup:actpass", "setup:passive"), 0, rtc.CodeBadSetup},
		"setup twice, different":     {once("a=setup:actpass", "a=setup:actpass\r\na=setup:active"), 0, rtc.CodeMalformedSDP},
		"group without mids":         {group("a=group:BUNDLE"), 0, rtc.CodeNoBundle},
		"group of lip sync only":     {group("a=group:LS 0 1"), 0, rtc.CodeNoBundle},
		"group in another order":     {group("a=group:BUNDLE 1 2 0"), 0, ""},
		"group beside one of LS":     {group("a=group:LS 0 1\r\na=group:BUNDLE 0 1 2"), 0, ""},
		"group with an unknown mid":  {group("a=group:BUNDLE 0 1 2 3"), 0, rtc.CodeBadBundle},
		"group with a mid twice":     {group("a=group:BUNDLE 0 1 2 1"), 0, rtc.CodeBadBundle},
		"two groups":                 {group("a=group:BUNDLE 0\r\na=group:BUNDLE 1 2"), 0, rtc.CodeNoBundle},
		"group without an m-line":    {group("a=group:BUNDLE 0 2"), 0, rtc.CodeNoBundle},
		"two mids in one m-line":     {once("a=mid:1", "a=mid:1\r\na=mid:x"), 0, rtc.CodeMalformedSDP},
		"one mid for two m-lines":    {once("a=mid:1", "a=mid:0"), 0, rtc.CodeBadBundle},
		"mid of odd letters":         {spoil("a=mid:1", "a=mid:a b"), 0, rtc.CodeBadBundle},
		"mid empty":                  {spoil("a=mid:1", "a=mid:"), 0, rtc.CodeBadBundle},
		"rtcp-mux in audio only":     {full[:len(head+audioLines)] + strings.Replace(full[len(head+audioLines):], "a=rtcp-mux\r\n", "", 1), 0, rtc.CodeNoRTCPMux},
		"rtcp-mux-only alone":        {spoil("a=rtcp-mux\r\n", "a=rtcp-mux-only\r\n"), 0, rtc.CodeNoRTCPMux},
		"all m-lines bundle-only":    {spoil("m=audio 9", "m=audio 0", "m=video 9", "m=video 0", "m=application 9", "m=application 0", "a=mid:", "a=bundle-only\r\na=mid:"), 0, rtc.CodeBadBundle},
		"bundle-only without mux":    {spoil("m=video 9", "m=video 0", "a=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\n", "a=mid:1\r\na=sendrecv\r\na=bundle-only\r\n"), 0, ""},
		"bundle-only with a port":    {once("a=mid:1", "a=bundle-only\r\na=mid:1"), 0, ""},
		"port 0 without bundle-only": {once("m=video 9", "m=video 0"), 0, rtc.CodeUnsupportedMedia},
	})
}

func TestParseOffer_OneMediaStream(t *testing.T) {
	msids := func(audio, video string) string {
		return spoil("a=mid:0", "a=mid:0\r\n"+audio, "a=mid:1", "a=mid:1\r\n"+video)
	}
	checkClauses(t, map[string]clause{
		"one":                            {msids("a=msid:s a", "a=msid:s v"), rtc.Publish, ""},
		"two":                            {msids("a=msid:s a", "a=msid:t v"), rtc.Publish, rtc.CodeTooManyStreams},
		"two for one track":              {msids("a=msid:s a\r\na=msid:t a", "a=msid:s v"), rtc.Publish, rtc.CodeTooManyStreams},
		"none for one of them":           {msids("a=msid:- a", "a=msid:t v"), rtc.Publish, ""},
		"no msid":                        {full, rtc.Publish, ""},
		"two that come with the sources": {msids("a=ssrc:1 msid:s a", "a=ssrc:2 msid:t v"), rtc.Publish, rtc.CodeTooManyStreams},
		"two of a viewer":                {msids("a=msid:s a", "a=msid:t v"), rtc.View, ""},
	})
}

func TestParseOffer_Formats(t *testing.T) {
	const bad = rtc.CodeBadFormat
	checkClauses(t, map[string]clause{
		"payload type 128":               {once("SAVPF 111 63", "SAVPF 111 128"), 0, bad},
		"payload type -1":                {once("SAVPF 111 63", "SAVPF 111 -1"), 0, bad},
		"payload type of letters":        {once("SAVPF 111 63", "SAVPF 111 x"), 0, bad},
		"payload type twice":             {once("SAVPF 111 63", "SAVPF 111 111"), 0, bad},
		"payload type of RTCP":           {spoil("SAVPF 111 63", "SAVPF 72", ":111 ", ":72 "), 0, rtc.CodeNoUsableCodec},
		"one for audio and video":        {spoil("SAVPF 111 63", "SAVPF 96 63", ":111 ", ":96 "), 0, bad},
		"rtpmap without codec":           {once("a=rtpmap:111 opus/48000/2", "a=rtpmap:111"), 0, bad},
		"rtpmap without clock":           {once("opus/48000/2", "opus"), 0, bad},
		"rtpmap with a clock of 0":       {once("VP8/90000", "VP8/0"), 0, bad},
		"rtpmap with a huge clock":       {once("VP8/90000", "VP8/99999999999999"), 0, bad},
		"rtpmap of letters":              {once("rtpmap:111", "rtpmap:x"), 0, bad},
		"rtpmap out of range":            {once("rtpmap:111", "rtpmap:300"), 0, bad},
		"rtpmap with two meanings":       {once("a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8/90000\r\na=rtpmap:96 VP9/90000"), 0, bad},
		"rtpmap of a type not listed":    {once("a=rtpmap:96", "a=rtpmap:33 MP2T/90000\r\na=rtpmap:96"), 0, ""},
		"fmtp without parameters":        {once("a=fmtp:111 minptime=10;useinbandfec=1", "a=fmtp:111"), 0, bad},
		"fmtp of letters":                {once("a=fmtp:111", "a=fmtp:x"), 0, bad},
		"fmtp beyond ASCII":              {once("a=fmtp:111 minptime=10", "a=fmtp:111 minptime=ä"), 0, bad},
		"apt that points nowhere":        {once("apt=96", "apt=77"), 0, ""},
		"apt of letters":                 {once("apt=96", "apt=x"), 0, ""},
		"opus of the wrong clock":        {once("opus/48000/2", "opus/44100/2"), 0, rtc.CodeNoUsableCodec},
		"simulcast":                      {once("a=mid:1", "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\na=mid:1"), 0, ""},
		"candidates of nonsense":         {once("a=mid:0", "a=candidate:x\r\na=candidate:\r\na=candidate:1 1 udp 1 a.local 5 typ host\r\na=mid:0"), 0, ""},
		"no feedback, no rtx, no extmap": {offerOf("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + ours + "a=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"), 0, ""},
	})
	h264 := func(fmtp string) string {
		return offerOf("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + ours + "a=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\n" + fmtp)
	}
	for _, profile := range []string{"42e01f", "42E01F", "42001f", "4d001f", "640028"} {
		for _, dir := range []rtc.Direction{rtc.Publish, rtc.View} {
			checkClauses(t, map[string]clause{
				"H.264 " + profile:              {h264("a=fmtp:96 packetization-mode=1;profile-level-id=" + profile + "\r\n"), dir, ""},
				"H.264 without mode " + profile: {h264("a=fmtp:96 profile-level-id=" + profile + "\r\n"), dir, ""},
			})
		}
	}
	checkClauses(t, map[string]clause{
		"H.264 without fmtp":         {h264(""), rtc.View, ""},
		"H.264 with half a profile":  {h264("a=fmtp:96 packetization-mode=1;profile-level-id=42e0\r\n"), 0, rtc.CodeNoUsableCodec},
		"H.264 with a bad profile":   {h264("a=fmtp:96 packetization-mode=1;profile-level-id=42e0zz\r\n"), 0, rtc.CodeNoUsableCodec},
		"H.264 interleaved":          {h264("a=fmtp:96 packetization-mode=2;profile-level-id=42e01f\r\n"), 0, rtc.CodeNoUsableCodec},
		"H.264 with a bad asymmetry": {h264("a=fmtp:96 level-asymmetry-allowed=7;packetization-mode=1\r\n"), 0, rtc.CodeNoUsableCodec},
	})
}
