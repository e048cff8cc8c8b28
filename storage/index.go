package storage

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/lectern/lectern/stream"
)

// IndexHead is the first line of an index file. With it a track can be told
// from its two files alone, without the manifest.
type IndexHead struct {
	Version   int          `json:"version"`
	Track     string       `json:"track"`  // TrackInfo.ID
	Stream    string       `json:"stream"` // slot
	Kind      string       `json:"kind"`
	Codec     stream.Codec `json:"codec"`
	ClockRate uint32       `json:"clock_rate"` // Hz, of IndexEntry.PTS
	OffsetMS  float64      `json:"offset_ms"`  // of PTS 0 on the timeline of the lecture
}

// IndexEntry is one further line of an index file: a place from which the media
// file can be played. Video: every keyframe. Audio: a packet every 2 s.
type IndexEntry struct {
	Frame  int64 `json:"frame"`  // number of the access unit in the file, from 0
	Offset int64 `json:"offset"` // bytes from the begin of the file to its IVF frame header or Ogg page
	PTS    int64 `json:"pts"`    // in ticks of ClockRate; audio: pre-skip taken off
	Width  int   `json:"width,omitempty"`
	Height int   `json:"height,omitempty"`
}

// maxIndexLine bounds a line of an index, in bytes.
const maxIndexLine = 4096

// ReadIndex reads an index file. A torn or broken line ends it without an
// error, and so does an entry that does not lie behind the one before: what
// stands before it is returned. Without a readable head it fails.
func ReadIndex(r io.Reader) (IndexHead, []IndexEntry, error) {
	h, es, _, err := readIndex(r)
	return h, es, err
}

// readIndex also returns how many bytes hold what it read.
func readIndex(r io.Reader) (h IndexHead, es []IndexEntry, size int64, err error) {
	br := bufio.NewReaderSize(r, maxIndexLine)
	line, err := br.ReadSlice('\n')
	if err != nil {
		return h, nil, 0, fmt.Errorf("reading index head: %w", err)
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, nil, 0, fmt.Errorf("parsing index head: %w", err)
	}
	if h.Version != ManifestVersion || h.ClockRate == 0 {
		return h, nil, 0, fmt.Errorf("parsing index head: version %d, clock rate %d", h.Version, h.ClockRate)
	}
	size = int64(len(line))
	last := IndexEntry{Frame: -1, Offset: -1, PTS: -1}
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return h, es, size, nil //nolint:nilerr // a torn tail is no error
		}
		e := IndexEntry{Frame: -1}
		valid := json.Unmarshal(line, &e) == nil
		if !valid || e.Frame <= last.Frame || e.Offset <= last.Offset || e.PTS <= last.PTS {
			return h, es, size, nil
		}
		es, last = append(es, e), e
		size += int64(len(line))
	}
}

// indexLine is v as a line of an index file.
func indexLine[T IndexHead | IndexEntry](v T) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // both are plain numbers and strings
	}
	return append(bytes.TrimSpace(b), '\n')
}
