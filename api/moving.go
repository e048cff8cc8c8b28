package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// pieceTimeout is the time that one piece of a large body may take. A whole
// download may take hours; a reader that takes nothing for so long is gone.
const pieceTimeout = 30 * time.Second

// movingWriter is a ResponseWriter that renews the write deadline with each
// piece, for bodies of any size. It hides ReadFrom on purpose: one sendfile of
// a whole lecture would have one deadline. It ends with the right to the request,
// if that is minded.
type movingWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	leash *leash
}

func newMovingWriter(w http.ResponseWriter, l *leash) *movingWriter {
	return &movingWriter{ResponseWriter: w, rc: http.NewResponseController(w), leash: l}
}

// Write implements io.Writer.
func (w *movingWriter) Write(p []byte) (int, error) {
	if err := w.leash.renew(w.rc.SetWriteDeadline); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *movingWriter) Flush() { _ = w.rc.Flush() /* an error shows at the next Write */ }

// movingReader is a request body that renews the deadlines with each piece: that
// of reading, and that of the answer, whose time runs from the header on. It ends
// with the right to the request, if that is minded.
type movingReader struct {
	io.Reader
	rc    *http.ResponseController
	leash *leash
}

func newMovingReader(c *gin.Context) *movingReader {
	return &movingReader{Reader: c.Request.Body, rc: http.NewResponseController(c.Writer), leash: leashOf(c)}
}

// Read implements io.Reader.
func (r *movingReader) Read(p []byte) (int, error) {
	if err := r.leash.renew(r.rc.SetReadDeadline, r.rc.SetWriteDeadline); err != nil {
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
