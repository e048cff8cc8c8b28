package datachannel

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

func FuzzDecodeHead(f *testing.F) {
	for _, s := range []string{
		`{"type":"hello","since":41,"name":"…","lang":"zh"}`, `{"type":"say","ref":"r","text":"x"}`,
		`{"type":"put","id":"c","name":"n","size":1,"sha256":"00"}`, `{"type":"x","ref":{}}`, "\xff", "[[[[",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, err := decodeHead(msg)
		if err != nil {
			if !errors.Is(err, errBadMessage) {
				t.Fatalf("got %v, want errBadMessage", err)
			}
			return
		}
		if h.Type == "" || !validRef(h.Ref) {
			t.Fatalf("got %+v", h)
		}
		answer := encode(okMessage{Type: "ok", Ref: h.Ref})
		var back okMessage
		if err := json.Unmarshal(answer, &back); err != nil {
			t.Fatalf("answer %s: %v", answer, err)
		}
		for _, v := range []any{&hello{}, &say{}, &hand{}, &put{}, &get{}, &ack{}} {
			if err := decode(msg, v); err != nil && !errors.Is(err, errBadMessage) {
				t.Fatalf("got %v, want errBadMessage", err)
			}
		}
	})
}

func FuzzDecodeChunk(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 0, 'x'})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 0})
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, msg []byte) {
		num, offset, data, err := decodeChunk(msg)
		if err != nil {
			return
		}
		if len(data) == 0 || len(data) > maxChunk || offset < 0 || offset > maxOffset {
			t.Fatalf("got %d bytes at %d", len(data), offset)
		}
		if back := append(appendChunkHeader(nil, num, offset), data...); !bytes.Equal(back, msg) {
			t.Fatalf("got %x, want %x", back, msg)
		}
	})
}
