package transcode

import (
	"bytes"
	"errors"
	"testing"

	"github.com/yutopp/go-flv/tag"
)

var avcC = []byte{1, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0, 5, 0x67, 0x4d, 0x40, 0x1f, 1, 1, 0, 2, 0x68, 2}

func TestParseAVCC(t *testing.T) {
	sps, pps, err := parseAVCC(avcC)
	if err != nil || !bytes.Equal(sps, avcC[8:13]) || !bytes.Equal(pps, avcC[16:18]) {
		t.Errorf("got % x, % x, %v", sps, pps, err)
	}
	for n := range avcC {
		if _, _, err := parseAVCC(avcC[:n]); !errors.Is(err, errAVCC) {
			t.Errorf("first %d bytes: got %v", n, err)
		}
	}
}

func TestLengthsToStartCodes(t *testing.T) {
	got, err := lengthsToStartCodes([]byte{0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x41})
	if want := []byte{0, 0, 0, 1, 0x65, 1, 0, 0, 0, 1, 0x41}; err != nil || !bytes.Equal(got, want) {
		t.Errorf("got % x, %v", got, err)
	}
	for _, b := range [][]byte{{0}, {0, 0, 0, 0}, {0, 0, 0, 2, 1}, {0xff, 0xff, 0xff, 0xff, 1}} {
		if _, err := lengthsToStartCodes(b); !errors.Is(err, errNALU) {
			t.Errorf("% x: got %v", b, err)
		}
	}
}

func TestPictureSize(t *testing.T) {
	for _, c := range [][4]int{
		{320, 180, 640, 360},
		{640, 360, 640, 360},
		{1280, 720, 1280, 720},
		{720, 1280, 720, 1280},
		{3840, 2160, 1920, 1080},
		{641, 361, 640, 360},
		{0, 0, 360, 360},
		{16000, 20, 4096, 360},
	} {
		if w, h := pictureSize(c[0], c[1]); w != c[2] || h != c[3] {
			t.Errorf("%dx%d: got %dx%d, want %dx%d", c[0], c[1], w, h, c[2], c[3])
		}
	}
}

func TestTail_KeepsTheEnd(t *testing.T) {
	tl := &tail{max: 4}
	for _, s := range []string{"ab", "cde", "f"} {
		if n, err := tl.Write([]byte(s)); n != len(s) || err != nil {
			t.Error(n, err)
		}
	}
	if got := tl.String(); got != "cdef" {
		t.Errorf("got %q", got)
	}
}

func FuzzParseAVCC(f *testing.F) {
	f.Add(avcC)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = parseAVCC(b)
		_, _ = lengthsToStartCodes(bytes.Clone(b))
	})
}

func FuzzReadFLV(f *testing.F) {
	f.Add([]byte("FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00\x08\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\xaf\x01\x02\x03\x00\x00\x00\x0f"))
	f.Add([]byte("FLV\x01\x01\x00\x00\x00\x09\x00\x00\x00\x00\x09\x00\x00\x06\x00\x00\x01\x00\x00\x00\x00\x17\x01\x00\x00\x00\x07\x00\x00\x00\x11"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = readFLV(bytes.NewReader(b), func(*tag.FlvTag, []byte) error { return nil })
	})
}
