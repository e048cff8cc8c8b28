package rtc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

// withData makes pc a viewer with a channel; it returns both ends.
func withData(t *testing.T, e *rtc.Endpoint) (*rtc.Session, *webrtc.DataChannel, *rtc.DataChannel) {
	t.Helper()
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	protocol := "lectern.v1"
	theirs, err := pc.CreateDataChannel("chat", &webrtc.DataChannelInit{Protocol: &protocol})
	if err != nil {
		t.Fatal(err)
	}
	channels := make(chan *rtc.DataChannel, 1)
	s := connect(t, e, pc, rtc.View, rtc.SessionConfig{OnDataChannel: func(ch *rtc.DataChannel) { channels <- ch }})
	ours := await(t, "the channel", channels)
	if ours.Label() != "chat" || ours.Protocol() != protocol || !s.HasData() {
		t.Errorf("got channel %q %q", ours.Label(), ours.Protocol())
	}
	return s, theirs, ours
}

func TestData_BothWays(t *testing.T) {
	_, theirs, ours := withData(t, listen(t, nil))
	back := make(chan webrtc.DataChannelMessage, 10)
	theirs.OnMessage(func(m webrtc.DataChannelMessage) { back <- m })
	buf := make([]byte, rtc.MaxMessageSize)
	for _, size := range []int{1, 0, 1000, 64 << 10, 200 << 10, rtc.MaxMessageSize} {
		message := bytes.Repeat([]byte{'x'}, size)
		if err := theirs.Send(message); err != nil {
			t.Fatalf("peer sends %d bytes: %v", size, err)
		}
		n, text, err := ours.ReadMessage(buf)
		if err != nil || text || !bytes.Equal(buf[:n], message) {
			t.Fatalf("got %d bytes, text %v, error %v; want %d", n, text, err, size)
		}
		if err := ours.WriteBinary(message); err != nil {
			t.Fatalf("WriteBinary: %v", err)
		}
		if m := await(t, "the message", back); m.IsString || !bytes.Equal(m.Data, message) {
			t.Fatalf("peer got %d bytes, text %v; want %d", len(m.Data), m.IsString, size)
		}
		if err := ours.WaitLow(t.Context()); err != nil {
			t.Fatalf("WaitLow: %v", err)
		}
	}
	if err := theirs.SendText("Grüße"); err != nil {
		t.Fatal(err)
	}
	if n, text, err := ours.ReadMessage(buf); err != nil || !text || string(buf[:n]) != "Grüße" {
		t.Errorf("got %q, text %v, error %v", buf[:n], text, err)
	}
	if err := ours.WriteText([]byte("zurück")); err != nil {
		t.Fatal(err)
	}
	if m := await(t, "the text", back); !m.IsString || string(m.Data) != "zurück" {
		t.Errorf("peer got %q, text %v", m.Data, m.IsString)
	}
}

func TestData_TooLarge(t *testing.T) {
	_, theirs, ours := withData(t, listen(t, nil))
	if err := ours.WriteBinary(make([]byte, rtc.MaxMessageSize+1)); !errors.Is(err, rtc.ErrMessageTooLarge) {
		t.Errorf("WriteBinary: got %v, want ErrMessageTooLarge", err)
	}
	for _, m := range []string{"too long for the buffer", "short"} {
		if err := theirs.SendText(m); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 10)
	if _, _, err := ours.ReadMessage(buf); !errors.Is(err, rtc.ErrMessageTooLarge) {
		t.Errorf("ReadMessage: got %v, want ErrMessageTooLarge", err)
	}
	if n, _, err := ours.ReadMessage(buf); err != nil || string(buf[:n]) != "short" {
		t.Errorf("the next message: got %q, %v", buf[:n], err)
	}
}

// A peer that does not read must fill a bounded buffer, and WaitLow must tell
// when it is empty again.
func TestData_BufferIsBounded(t *testing.T) {
	_, theirs, ours := withData(t, listen(t, nil))
	block, entered := make(chan struct{}), make(chan struct{}, 1)
	theirs.OnMessage(func(webrtc.DataChannelMessage) {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-block
	})
	chunk := make([]byte, 64<<10)
	// The peer takes in more than a megabyte before it stops.
	full := 0
	waitFor(t, "a buffer that stays full", func() bool {
		full++
		for range 16 {
			err := ours.WriteBinary(chunk)
			if err == nil {
				full = 0
			} else if !errors.Is(err, rtc.ErrBufferFull) {
				t.Fatalf("WriteBinary: %v", err)
			}
		}
		return full > 20
	})
	if got := ours.BufferedAmount(); got > 1<<20 {
		t.Errorf("got %d bytes waiting, want at most 1 MiB", got)
	}
	await(t, "the peer to receive", entered)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ours.WaitLow(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitLow with a full buffer: got %v, want a deadline error", err)
	}
	close(block)
	if err := ours.WaitLow(t.Context()); err != nil {
		t.Errorf("WaitLow: %v", err)
	}
}

func TestData_CloseIsSeen(t *testing.T) {
	e := listen(t, nil)
	buf := make([]byte, 10)
	t.Run("channel by us", func(t *testing.T) {
		s, theirs, ours := withData(t, e)
		closed := make(chan struct{})
		theirs.OnClose(func() { close(closed) })
		if err := ours.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		await(t, "the peer's channel to close", closed)
		if _, _, err := ours.ReadMessage(buf); !errors.Is(err, io.EOF) {
			t.Errorf("ReadMessage: got %v, want EOF", err)
		}
		if err := ours.WriteText(nil); !errors.Is(err, rtc.ErrClosed) {
			t.Errorf("WriteText: got %v, want ErrClosed", err)
		}
		if !s.Connected() {
			t.Error("closing a channel ended the session")
		}
	})
	t.Run("channel by the peer", func(t *testing.T) {
		_, theirs, ours := withData(t, e)
		if err := theirs.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ours.ReadMessage(buf); !errors.Is(err, io.EOF) {
			t.Errorf("ReadMessage: got %v, want EOF", err)
		}
		<-ours.Done()
	})
	t.Run("session by us", func(t *testing.T) {
		s, theirs, ours := withData(t, e)
		closed := make(chan struct{})
		theirs.OnClose(func() { close(closed) })
		reason := errors.New("class is over")
		if err := s.Close(reason); err != nil {
			t.Errorf("Close: %v", err)
		}
		await(t, "the peer's channel to close", closed)
		if _, _, err := ours.ReadMessage(buf); !errors.Is(err, io.EOF) {
			t.Errorf("ReadMessage: got %v, want EOF", err)
		}
		if err := ours.WaitLow(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("WaitLow: got %v, want EOF", err)
		}
		if !errors.Is(s.Err(), reason) {
			t.Errorf("Err: got %v, want the reason", s.Err())
		}
	})
}
