package rtsp

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"github.com/lectern/lectern/stream"
)

func TestChoice_Resolve(t *testing.T) {
	tests := []struct {
		choice choice
		video  stream.Codec
		want   Want
		err    error
	}{
		{choice{}, stream.H264, 0, nil},
		{choice{}, stream.VP8, 0, nil},
		{choice{}, "", 0, nil},
		{choice{}, stream.VP9, Full, nil},
		{choice{}, stream.AV1, Full, nil},
		{choice{video: "original"}, stream.AV1, 0, nil},
		{choice{video: "h264"}, stream.VP8, Full, nil},
		{choice{video: "h264"}, stream.H264, 0, nil},
		{choice{video: "h264", audio: "aac"}, stream.VP8, Full, nil},
		{choice{video: "h264", audio: "aac"}, stream.H264, AudioOnly, nil},
		{choice{audio: "aac"}, stream.H264, AudioOnly, nil},
		{choice{audio: "aac"}, stream.VP8, Full, nil},
		{choice{audio: "aac"}, "", Full, nil},
		{choice{video: "original", audio: "aac"}, stream.H264, AudioOnly, nil},
		{choice{video: "original", audio: "aac"}, stream.VP8, 0, errBadQuery},
	}
	for _, tt := range tests {
		if got, err := tt.choice.resolve(tt.video); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%+v of %q: got %v, %v, want %v, %v", tt.choice, tt.video, got, err, tt.want, tt.err)
		}
	}
}

func TestParameterSets(t *testing.T) {
	sps, pps := []byte{0x67, 1, 2}, []byte{0x68, 3}
	stap := []byte{0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3, 0, 9, 0x65}
	tests := []struct {
		name             string
		payload          []byte
		wantSPS, wantPPS []byte
	}{
		{"single SPS", sps, sps, nil},
		{"single PPS", pps, nil, pps},
		{"STAP-A, cut short", stap, sps, pps},
		{"slice", []byte{0x65, 1}, nil, nil},
		{"empty", nil, nil, nil},
	}
	for _, tt := range tests {
		if s, p := parameterSets(tt.payload); !bytes.Equal(s, tt.wantSPS) || !bytes.Equal(p, tt.wantPPS) {
			t.Errorf("%s: got % x and % x", tt.name, s, p)
		}
	}
}

func TestNTPTime(t *testing.T) {
	at := time.Unix(0, 0).Add(750 * time.Millisecond)
	if got, want := ntpTime(at), uint64(2208988800)<<32|3<<30; got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

func FuzzParameterSets(f *testing.F) {
	f.Add([]byte{0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3})
	f.Add([]byte{0x78, 0xff, 0xff})
	f.Add([]byte{0x67})
	f.Fuzz(func(t *testing.T, payload []byte) {
		sps, pps := parameterSets(payload)
		if len(sps)+len(pps) > len(payload) {
			t.Errorf("parameter sets of %d bytes out of %d", len(sps)+len(pps), len(payload))
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add("/algebra/main", "token=x&video=h264", "Basic dTpw")
	f.Add("//", "%zz", "Digest username=\"u\"")
	f.Add("/algebra", "", "digest username=\"u\", realm=\"Lectern\", nonce=\"n\", uri=\"/algebra\", response=\"0\", algorithm=\"SHA-256\"")
	asked := ""
	h := &handler{s: &Server{cfg: Config{DigestHA1: func(user, _, _ string) (string, bool) { asked = user; return "secret", true }}}}
	f.Fuzz(func(t *testing.T, path, query, authorization string) {
		asked = ""
		req, _, err := parseRequest(path, query)
		if err != nil {
			return
		}
		r := &base.Request{Method: base.Describe, URL: &base.URL{Path: path}, Header: base.Header{"Authorization": base.HeaderValue{authorization}}}
		err = h.authenticate("n", r, &req)
		if err == nil && (req.Room == "" || req.Slot == "") {
			t.Errorf("got room %q and slot %q without an error", req.Room, req.Slot)
		}
		if req.Proven && (asked == "" || req.User != asked || req.Credential != "") {
			t.Errorf("got proof of %q, asked about %q", req.User, asked)
		}
	})
}
