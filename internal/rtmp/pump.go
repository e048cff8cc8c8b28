package rtmp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/yutopp/go-rtmp/message"
)

// Status codes of the NetStream that the library lacks.
const (
	codeFailed    = "NetStream.Play.Failed"
	codeNotFound  = "NetStream.Play.StreamNotFound"
	codeUnpublish = "NetStream.Play.UnpublishNotify"
	codeBadName   = "NetStream.Publish.BadName"
)

// maxWords bounds what a player is told, for the length that status writes.
const maxWords = 255

// pump sends what src gives until one of the two ends.
func (c *conn) pump(src Source) (err error) {
	// The library panics rather than fail in places; that must cost no more than
	// this connection.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sending to player: panic: %v", p)
		}
	}()
	err = c.send(controlID, 0, 0, &message.UserCtrl{Event: &message.UserCtrlEventStreamBegin{StreamID: c.streamID}})
	for err == nil {
		var m Message
		if m, err = src.Next(c.ctx); err == nil {
			err = c.sendMedia(m)
		}
	}
	if errors.Is(err, io.EOF) {
		c.bye()
	}
	return err
}

func (c *conn) sendMedia(m Message) error {
	switch m.Kind {
	case Audio:
		return c.send(audioID, c.streamID, m.Timestamp, &message.AudioMessage{Payload: bytes.NewReader(m.Body)})
	case Video:
		return c.send(videoID, c.streamID, m.Timestamp, &message.VideoMessage{Payload: bytes.NewReader(m.Body)})
	default:
		return c.send(dataID, c.streamID, m.Timestamp, &message.DataMessage{
			Name: "onMetaData", Body: bytes.NewReader(encodeMetadata(m.Properties)),
		})
	}
}

// bye tells the player that the stream has ended, and waits until that is sent.
func (c *conn) bye() {
	eof := &message.UserCtrl{Event: &message.UserCtrlEventStreamEOF{StreamID: c.streamID}}
	if c.send(controlID, 0, 0, eof) != nil ||
		c.send(controlID+1, c.streamID, 0, status("status", codeUnpublish, "the stream has ended")) != nil {
		return
	}
	end := time.NewTimer(farewell)
	defer end.Stop()
	select {
	case <-c.last:
	case <-end.C:
		return
	case <-c.ctx.Done():
		return
	}
	// The library mixes the messages of different chunk streams: the rest of the
	// last picture may come after the farewell.
	tick := time.NewTicker(quiet / 4)
	defer tick.Stop()
	for {
		if !c.writing.Load() && time.Since(time.Unix(0, c.written.Load())) >= quiet {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// status is an onStatus command (RTMP 1.0, section 7.2.2).
func status(level, code, text string) *message.CommandMessage {
	info := []byte{amfNull}
	info = append(info, amfObject)
	for _, p := range []struct{ name, value string }{{"level", level}, {"code", code}, {"description", text}} {
		info = append(info, 0, byte(len(p.name)))
		info = append(info, p.name...)
		info = append(info, amfString, 0, byte(len(p.value)))
		info = append(info, p.value...)
	}
	info = append(info, 0, 0, amfObjectEnd)
	return &message.CommandMessage{CommandName: "onStatus", Body: bytes.NewReader(info)}
}
