package room

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// The types of events.
const (
	TypeSay       = "say"       // somebody said something
	TypeHand      = "hand"      // a hand went up or down
	TypePeople    = "people"    // somebody came, went or changed
	TypeFile      = "file"      // a file was shared
	TypeClass     = "class"     // the class began, was interrupted, resumed, ended
	TypeStream    = "stream"    // a slot got or lost its publisher
	TypeRecording = "recording" // the recording began, is complete, went wrong
)

// Event is one thing that happened in a room, as it is kept, sent and replayed.
// Which fields are set depends on Type; see docs/PROTOCOL.md.
type Event struct {
	Type string `json:"type"`
	Seq  uint64 `json:"seq"`          // per room, rising by 1
	At   int64  `json:"at"`           // ms since the epoch
	By   string `json:"by,omitempty"` // member id; empty: the server

	From string `json:"from,omitempty"` // name of By, of say, hand and file
	Role string `json:"role,omitempty"` // role of By, of say
	Text string `json:"text,omitempty"` // of say

	Up  *bool  `json:"up,omitempty"`  // of hand
	Who string `json:"who,omitempty"` // of hand: whose, when not By's own

	Joined []Person `json:"joined,omitempty"` // of people: came or changed
	Left   []string `json:"left,omitempty"`   // of people: member ids
	Total  *int     `json:"total,omitempty"`  // of people
	Reset  bool     `json:"reset,omitempty"`  // of people: nobody of before is here

	ID        string `json:"id,omitempty"`   // of file
	Name      string `json:"name,omitempty"` // of file
	Size      *int64 `json:"size,omitempty"` // of file, bytes
	SHA256    string `json:"sha256,omitempty"`
	MediaType string `json:"media_type,omitempty"`
	URL       string `json:"url,omitempty"`

	State   string `json:"state,omitempty"`   // of class, stream and recording
	Class   string `json:"class,omitempty"`   // of class: its id
	Title   string `json:"title,omitempty"`   // of class
	Origin  string `json:"origin,omitempty"`  // of class
	Slot    string `json:"slot,omitempty"`    // of stream and recording
	Lecture string `json:"lecture,omitempty"` // of class and recording: id of the recording
	Why     string `json:"why,omitempty"`     // of class and recording
}

// Person is one member in the roster, whatever the number of connections.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
	Lang string `json:"lang,omitempty"`
	Hand bool   `json:"hand,omitempty"`
}

// Line is an Event as it is kept: once encoded, never changed.
type Line struct {
	Seq  uint64
	At   time.Time
	JSON []byte // the encoded Event, without newline; read-only
	Key  string // non-empty: a second event with the same key is not appended

	event *Event // what JSON says; nil: read it
}

// decode returns what the line says.
func (l Line) decode() (Event, error) {
	if l.event != nil {
		return *l.event, nil
	}
	var e Event
	if err := json.Unmarshal(l.JSON, &e); err != nil {
		return Event{}, fmt.Errorf("reading event %d: %w", l.Seq, err)
	}
	return e, nil
}

// encode returns e as one line of JSON. HTML characters stay as they are: the
// line is not put into a page, and escaping would make them six times as long.
func encode(e Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encoding an event: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// onTimeline returns line with the field t, ms since the lecture began.
func onTimeline(line []byte, t time.Duration) []byte {
	out := make([]byte, 0, len(line)+24)
	out = append(out, `{"t":`...)
	out = strconv.AppendInt(out, t.Milliseconds(), 10)
	out = append(out, ',')
	return append(out, line[1:]...)
}
