package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/url"
	"slices"
	"testing"
)

// after is input behind a handshake of zeros.
func after(b ...[]byte) io.Reader {
	return io.MultiReader(bytes.NewReader(make([]byte, handshakeSize)), bytes.NewReader(slices.Concat(b...)))
}

// header is a chunk header of format 0 on chunk stream 3.
func header(kind byte, length, timestamp int) []byte {
	return []byte{
		3, byte(timestamp >> 16), byte(timestamp >> 8), byte(timestamp),
		byte(length >> 16), byte(length >> 8), byte(length), kind, 0, 0, 0, 0,
	}
}

// readAll reads what comes out behind the handshake.
func readAll(r io.Reader) ([]byte, error) {
	out, err := io.ReadAll(newInbound(r))
	return out[min(handshakeSize, len(out)):], err
}

func amfText(n int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{amfLongString}, uint32(n)), bytes.Repeat([]byte{'x'}, n)...)
}

func TestInbound_MakesOneChunkOfAMessage(t *testing.T) {
	text := amfText(300) // 305 bytes: three chunks of 128
	in := slices.Concat(header(typeAMF0Command, len(text), 7), text[:128], []byte{0xc3}, text[128:256], []byte{0xc3}, text[256:])
	out, err := readAll(after(in))
	if want := append(header(typeAMF0Command, len(text), 7), text...); err != nil || !bytes.Equal(out, want) {
		t.Errorf("got %d bytes, %v; want %d", len(out), err, len(want))
	}
}

func TestInbound_FollowsChunkSizeAndExtendedTimestamps(t *testing.T) {
	text := amfText(200)
	ext := []byte{1, 2, 3, 4}
	in := slices.Concat(
		header(typeSetChunkSize, 4, 0), []byte{0, 0, 0, 100},
		header(typeAMF0Command, len(text), extended), ext, text[:100], []byte{0xc3}, ext, text[100:200], []byte{0xc3}, ext, text[200:])
	out, err := readAll(after(in))
	want := slices.Concat(header(typeAMF0Command, len(text), extended), ext, text)
	if err != nil || !bytes.Equal(out, want) {
		t.Errorf("got % x, %v", out[:min(24, len(out))], err)
	}
}

func TestInbound_SwallowsWhatTheLibraryMustNotSee(t *testing.T) {
	for kind, payload := range map[byte][]byte{
		3: {0, 0, 0, 1}, 4: {0, 6, 0, 0, 0, 1}, 5: {0, 0, 0, 2}, 6: {0, 0, 0, 2, 2}, 8: {1}, 9: {1}, 18: {1}, 22: {1}, 0: {},
	} {
		out, err := readAll(after(header(kind, len(payload), 0), payload))
		if err != nil || len(out) > 0 {
			t.Errorf("type %d: got % x, %v", kind, out, err)
		}
	}
}

func TestInbound_RefusesExcess(t *testing.T) {
	array := []byte{amfStrictArray, 0x7f, 0xff, 0xff, 0xff}
	many := []byte{}
	for id := byte(3); id < 3+maxChannels+1; id++ {
		many = append(many, id, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0)
		many = append(many, make([]byte, 128)...)
	}
	held := slices.Concat(header(typeSetChunkSize, 4, 0), []byte{0, 0xff, 0xff, 0xff})
	for id := byte(3); id < 6; id++ {
		held = append(held, id, 0, 0, 0, 0, 0xff, 0xff, 8, 0, 0, 0, 0)
		held = append(held, make([]byte, 65000)...)
	}
	for name, in := range map[string][]byte{
		"huge message":     header(typeAMF0Command, 0xffffff, 0),
		"empty command":    header(typeAMF0Command, 0, 0),
		"huge array":       append(header(typeAMF0Command, len(array), 0), array...),
		"deep objects":     append(header(typeAMF0Command, 100, 0), bytes.Repeat([]byte{amfObject, 0, 1, 'a'}, 25)...),
		"no header":        {0xc3},
		"zero chunk size":  append(header(typeSetChunkSize, 4, 0), 0, 0, 0, 0),
		"too many streams": many,
		"AMF3":             append(header(typeAMF3Command, 1, 0), 1),
	} {
		if _, err := readAll(after(in)); !errors.Is(err, errInbound) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := readAll(after(held)); err == nil {
		t.Error("unfinished messages are not bounded")
	}
}

func FuzzInbound(f *testing.F) {
	text := amfText(300)
	f.Add(slices.Concat(header(typeAMF0Command, len(text), 7), text[:128], []byte{0xc3}, text[128:256], []byte{0xc3}, text[256:]))
	f.Add(slices.Concat(header(typeSetChunkSize, 4, 0), []byte{0, 0, 0, 100}))
	f.Add(append(header(typeAMF0Command, 3, extended), 0, 0, 0, 1, 5, 5, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newInbound(after(b))
		out, _ := io.ReadAll(in)
		if in.held < 0 || in.held > maxHeld || len(in.channels) > maxChannels {
			t.Errorf("holds %d bytes in %d channels", in.held, len(in.channels))
		}
		if len(out) < handshakeSize {
			return
		}
		// What comes out must pass a second time, as it is.
		rest := out[handshakeSize:]
		second := newInbound(after(slices.Concat(header(typeSetChunkSize, 4, 0), []byte{0, 0xff, 0xff, 0xff}, rest)))
		again, err := io.ReadAll(second)
		if err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(again[handshakeSize:], rest) {
			t.Errorf("% x becomes % x: %v", rest, again[handshakeSize:], err)
		}
	})
}

func FuzzCheckAMF(f *testing.F) {
	f.Add([]byte{amfObject, 0, 1, 'a', amfNull, 0, 0, amfObjectEnd})
	f.Add([]byte{amfStrictArray, 0, 0, 0, 2, amfNull, amfNull})
	f.Add(encodeMetadata([]Property{{"a", 1.0}, {"b", true}, {"c", "d"}}))
	f.Fuzz(func(_ *testing.T, b []byte) { _ = checkAMF(b) })
}

func FuzzParseTarget(f *testing.F) {
	f.Add("rtmp://host/live?token=a", "live", "room?token=b")
	f.Fuzz(func(t *testing.T, tcURL, app, name string) {
		path, _ := parseTarget(tcURL, app, name)
		if slices.Contains(path, "") {
			t.Errorf("empty part in %q", path)
		}
	})
}

func FuzzParseUser(f *testing.F) {
	f.Add("rtmp://wei:tulip@host/live")
	f.Add("rtmp://a%40b:%zz@@host:1935")
	f.Fuzz(func(t *testing.T, tcURL string) {
		if user, password := parseUser(tcURL); len(user)+len(password) > len(tcURL) {
			t.Errorf("%q: got %q and %q", tcURL, user, password)
		}
	})
}

func TestParseUser(t *testing.T) {
	for tcURL, want := range map[string][2]string{
		"rtmp://h/live":                  {},
		"rtmp://wei:tulip@h:1935/live":   {"wei", "tulip"},
		"rtmp://wei%40x:tu%2Flip@h/live": {"wei@x", "tu/lip"},
		"rtmp://wei@h/live":              {"wei", ""},
		"rtmp://h/live/a:b@c":            {},
		"nonsense":                       {},
	} {
		if user, password := parseUser(tcURL); user != want[0] || password != want[1] {
			t.Errorf("%q: got %q and %q, want %q", tcURL, user, password, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		tcURL, app, name string
		path             []string
		token            string
	}{
		{"rtmp://h/live", "live", "room?token=x", []string{"live", "room"}, "x"},
		{"rtmp://h/live/room", "live/room", "main?token=x", []string{"live", "room", "main"}, "x"},
		{"rtmp://h/live/room?token=x", "live/room?token=x", "main", []string{"live", "room", "main"}, "x"},
		{"rtmp://h/live/room?token=x", "live/room", "", []string{"live", "room"}, "x"},
		{"rtmp://h/live", "live/", "/room/", []string{"live", "room"}, ""},
		{"", "", "?token=%zz&token=y", nil, "y"},
	} {
		path, query := parseTarget(c.tcURL, c.app, c.name)
		if !slices.Equal(path, c.path) || url.Values(query).Get("token") != c.token {
			t.Errorf("%q %q %q: got %q, %q", c.tcURL, c.app, c.name, path, query)
		}
	}
}
