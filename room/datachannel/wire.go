package datachannel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/lectern/lectern/room"
)

// MaxMessage is the most bytes of a text message of a client.
const MaxMessage = 16 << 10

// Bounds of what a client may send. welcome tells them.
const (
	maxMessage  = MaxMessage
	maxChunk    = 64 << 10 // bytes of data in a binary message
	sendChunk   = 32 << 10 // bytes of data in a binary message that we send
	headerBytes = 8        // of a binary message
	window      = 1 << 20  // bytes of one transfer that may be under way
	maxTransfer = 4        // open transfers of a channel
	maxOffset   = 1<<32 - 1

	minKey, maxKey = room.MinPageKey, room.MaxPageKey // bytes of hello.key
	maxRawRef      = 128                              // bytes of a ref as JSON
)

// The stable error codes.
const (
	codeBadMessage   = "bad_message"
	codeTooLarge     = "message_too_large"
	codeRateLimited  = "rate_limited"
	codeForbidden    = "forbidden"
	codeRoomFull     = "room_full"
	codeClosed       = "closed"
	codeNotKept      = "not_kept"
	codeInternal     = "internal"
	codeUnsupported  = "unsupported_protocol"
	codeFilesOff     = "files_off"
	codeFilesClosed  = "files_closed"
	codeChatClosed   = "chat_closed"
	codeFileTooLarge = "file_too_large"
	codeQuota        = "quota_exceeded"
	codeDigest       = "digest_mismatch"
	codeNotFound     = "not_found"
	codeBusy         = "busy"
	codeReplaced     = "replaced"
	codeTimeout      = "timeout"
	codeCancelled    = "cancelled"
)

var errBadMessage = errors.New("datachannel: bad message")

// head is the part of a message that tells what it is.
type head struct {
	Type string          `json:"type"`
	Ref  json.RawMessage `json:"ref"`
	ID   string          `json:"id"`
}

// hello is the first message of a client.
type hello struct {
	Since uint64 `json:"since"`
	Name  string `json:"name"`
	Lang  string `json:"lang"`
	Key   string `json:"key"`
}

// say and hand are requests on the chat channel.
type say struct {
	Text string `json:"text"`
}

type hand struct {
	Up  *bool  `json:"up"`
	Who string `json:"who"`
}

// put, get and ack are messages on the files channel; cancel is a bare head.
type put struct {
	Name      string `json:"name"`
	Size      *int64 `json:"size"`
	SHA256    string `json:"sha256"`
	MediaType string `json:"media_type"`
}

type get struct {
	Offset int64 `json:"offset"`
}

type ack struct {
	Offset int64 `json:"offset"`
}

// decodeHead reads what a message is. Its other fields are read by decode.
func decodeHead(msg []byte) (head, error) {
	var h head
	if len(msg) > maxMessage || !utf8.Valid(msg) {
		return h, fmt.Errorf("%w: not UTF-8", errBadMessage)
	}
	if err := decode(msg, &h); err != nil {
		return h, err
	}
	if h.Type == "" {
		return h, fmt.Errorf("%w: no type", errBadMessage)
	}
	if !validRef(h.Ref) {
		h.Ref = nil
		return h, fmt.Errorf("%w: ref is neither a short text nor a number", errBadMessage)
	}
	return h, nil
}

func decode(msg []byte, v any) error {
	if err := json.Unmarshal(msg, v); err != nil {
		return fmt.Errorf("%w: %w", errBadMessage, err)
	}
	return nil
}

// validRef says whether ref is absent, a string or a number, of bounded length.
func validRef(ref json.RawMessage) bool {
	if len(ref) > maxRawRef {
		return false
	}
	if len(ref) == 0 {
		return true
	}
	c := ref[0]
	return c == '"' || c == '-' || ('0' <= c && c <= '9')
}

// decodeChunk splits a binary message: the number of the transfer, the offset in
// the file, both big endian, and the data.
func decodeChunk(msg []byte) (transfer uint32, offset int64, data []byte, err error) {
	if len(msg) <= headerBytes || len(msg) > headerBytes+maxChunk {
		return 0, 0, nil, fmt.Errorf("%w: binary message of %d bytes", errBadMessage, len(msg))
	}
	return binary.BigEndian.Uint32(msg), int64(binary.BigEndian.Uint32(msg[4:])), msg[headerBytes:], nil
}

// appendChunkHeader is the other half of decodeChunk.
func appendChunkHeader(p []byte, transfer uint32, offset int64) []byte {
	p = binary.BigEndian.AppendUint32(p, transfer)
	return binary.BigEndian.AppendUint32(p, uint32(offset))
}

// The messages of the server.
type welcomeMessage struct {
	Type   string        `json:"type"`
	You    room.Person   `json:"you"`
	Room   room.Snapshot `json:"room"`
	People []room.Person `json:"people"`
	Total  int           `json:"total"`
	Seq    uint64        `json:"seq"`
	Limits limits        `json:"limits"`
}

type limits struct {
	MessageBytes int     `json:"message_bytes"`
	TextBytes    int     `json:"text_bytes"`
	NameChars    int     `json:"name_chars"`
	Rate         float64 `json:"requests_per_second"`
	Burst        int     `json:"burst"`
	History      int     `json:"history"`
	FileBytes    int64   `json:"file_bytes"`
	ChunkBytes   int     `json:"chunk_bytes"`
	WindowBytes  int     `json:"window_bytes"`
	Transfers    int     `json:"transfers"`
}

type truncatedMessage struct {
	Type string `json:"type"`
	From uint64 `json:"from"`
}

type laggingMessage struct {
	Type string `json:"type"`
	Seq  uint64 `json:"seq"`
}

type okMessage struct {
	Type string          `json:"type"`
	Ref  json.RawMessage `json:"ref,omitempty"`
	Seq  uint64          `json:"seq"`
}

type errorMessage struct {
	Type         string          `json:"type"`
	Ref          json.RawMessage `json:"ref,omitempty"`
	ID           string          `json:"id,omitempty"`
	Code         string          `json:"code"`
	Message      string          `json:"message"`
	RetryAfterMS int64           `json:"retry_after_ms,omitempty"`
}

type goMessage struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	Transfer  uint32 `json:"transfer"`
	Offset    int64  `json:"offset"`
	Window    int    `json:"window"`
	Name      string `json:"name,omitempty"`
	Size      *int64 `json:"size,omitempty"`
	SHA256    string `json:"sha256,omitempty"`
	MediaType string `json:"media_type,omitempty"`
}

type ackMessage struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	Offset int64  `json:"offset"`
}

type storedMessage struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	File string `json:"file"`
	URL  string `json:"url"`
	Seq  uint64 `json:"seq"`
}

type endMessage struct {
	Type     string `json:"type"`
	ID       string `json:"id"`
	Transfer uint32 `json:"transfer"`
}

// encode returns a message of the server. It escapes nothing for HTML: the text
// is not put into a page.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("datachannel: message cannot be encoded: " + err.Error()) // our own types can
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func refusal(code, message string) []byte {
	return encode(errorMessage{Type: "error", Code: code, Message: message})
}

// failure is the answer to a request that went wrong. known is false for an
// error whose text is not for the client.
func failure(err error) (m errorMessage, known bool) {
	m = errorMessage{Type: "error"}
	var tooFast *room.RateError
	if errors.As(err, &tooFast) {
		m.Code, m.Message = codeRateLimited, "too many requests"
		m.RetryAfterMS = max(tooFast.RetryAfter.Milliseconds(), 1)
		return m, true
	}
	for _, k := range failures() {
		if errors.Is(err, k.err) {
			m.Code, m.Message = k.code, k.message
			return m, true
		}
	}
	m.Code, m.Message = codeInternal, "the server could not do it"
	return m, false
}

type knownFailure struct {
	err     error
	code    string
	message string
}

func failures() []knownFailure {
	return []knownFailure{
		{errBadMessage, codeBadMessage, "the message is malformed"},
		{room.ErrBadText, codeBadMessage, "the text is empty"},
		{room.ErrBadRef, codeBadMessage, "ref is too long"},
		{room.ErrTooLong, codeTooLarge, "the text is too long"},
		{room.ErrForbidden, codeForbidden, "you may not do that"},
		{room.ErrFull, codeRoomFull, "the room is full"},
		{room.ErrClosed, codeClosed, "the room is closed"},
		{room.ErrNotKept, codeNotKept, "the server cannot store events at the moment"},
		{room.ErrNoFiles, codeFilesOff, "file sharing is off"},
		{room.ErrFilesClosed, codeFilesClosed, "students cannot share files in this room"},
		{room.ErrChatClosed, codeChatClosed, "students cannot write in this room"},
		{room.ErrBadFile, codeBadMessage, "the description of the file is malformed"},
		{room.ErrFileTooLarge, codeFileTooLarge, "the file is too large"},
		{room.ErrQuota, codeQuota, "no space is left for files of this room"},
		{room.ErrDigest, codeDigest, "the content differs from its sha256; nothing was kept"},
		{room.ErrFileNotFound, codeNotFound, "there is no such file"},
		{room.ErrBusy, codeBusy, "too many transfers are open"},
		{room.ErrReplaced, codeReplaced, "the upload goes on elsewhere"},
		{errStalled, codeTimeout, "nothing came for too long"},
		{errCancelled, codeCancelled, "the transfer was cancelled"},
	}
}
