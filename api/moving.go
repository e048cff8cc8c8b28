package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// pieceTimeout is the time that one piece of a large body may take. A whole
// download may take hours; a reader that takes nothing for so long is gone.
const pieceTimeout = 30 * time.Second

// movingWriter is a ResponseWriter that renews the write deadline with each
// piece, for bodies of any size. It hides ReadFrom on purpose: one sendfile of
// a whole lecture would have one deadline.
type movingWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func newMovingWriter(w http.ResponseWriter) *movingWriter {
	return &movingWriter{ResponseWriter: w, rc: http.NewResponseController(w)}
}

// Write implements io.Writer.
func (w *movingWriter) Write(p []byte) (int, error) {
	if err := renew(w.rc.SetWriteDeadline); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *movingWriter) Flush() { _ = w.rc.Flush() /* an error shows at the next Write */ }

// movingReader is a request body that renews the deadlines with each piece: that
// of reading, and that of the answer, whose time runs from the header on.
type movingReader struct {
	io.Reader
	rc *http.ResponseController
}

func newMovingReader(w http.ResponseWriter, r io.Reader) *movingReader {
	return &movingReader{Reader: r, rc: http.NewResponseController(w)}
}

// Read implements io.Reader.
func (r *movingReader) Read(p []byte) (int, error) {
	if err := errors.Join(renew(r.rc.SetReadDeadline), renew(r.rc.SetWriteDeadline)); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// renew sets a deadline. A writer that has none (of a test) is no error.
func renew(set func(time.Time) error) error {
	err := set(time.Now().Add(pieceTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("renewing deadline: %w", err)
	}
	return nil
}
