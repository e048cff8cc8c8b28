package transcode

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/yutopp/go-flv"
	"github.com/yutopp/go-flv/tag"
)

// readFLV decodes the output of a child and calls f for each tag until the end
// (nil), or until f or the decoder fails.
func readFLV(r io.Reader, f func(t *tag.FlvTag, body []byte) error) error {
	dec, err := flv.NewDecoder(wholeReader{bufio.NewReaderSize(r, 64<<10)})
	if err != nil {
		return endOfFLV(err)
	}
	for {
		var t tag.FlvTag
		if err := dec.Decode(&t); err != nil {
			return endOfFLV(err)
		}
		var data io.Reader
		switch d := t.Data.(type) {
		case *tag.AudioData:
			data = d.Data
		case *tag.VideoData:
			data = d.Data
		default:
			continue
		}
		body, err := io.ReadAll(data)
		if err != nil {
			return endOfFLV(err)
		}
		if err := f(&t, body); err != nil {
			return err
		}
	}
}

// endOfFLV makes nothing of an end, even in the middle of a tag: the child may
// have been killed.
func endOfFLV(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("reading encoder output: %w", err)
}

// wholeReader fills p as far as it can: the FLV decoder takes a short read of a
// tag header for a whole one.
type wholeReader struct{ r io.Reader }

func (w wholeReader) Read(p []byte) (int, error) {
	n, err := io.ReadFull(w.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}
