package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// mediaFile is a file that grows by whole frames. What is written to it is
// collected and goes to the disk in one call at commit, so that a kill between
// two frames tears nothing and the page cache has every frame at once.
//
// One goroutine writes; sync and close are the keeper's.
type mediaFile struct {
	f     *os.File
	buf   []byte // of the frame that is being put together
	size  int64  // of what is committed
	dirty atomic.Bool
	done  atomic.Bool // the writer has let go: to be closed
}

// Write collects p. It never fails; so pion's writers never see half a frame.
func (m *mediaFile) Write(p []byte) (int, error) {
	m.buf = append(m.buf, p...)
	return len(p), nil
}

// commit writes what is collected behind what is committed.
func (m *mediaFile) commit() error {
	n := len(m.buf)
	if n == 0 {
		return nil
	}
	_, err := m.f.WriteAt(m.buf, m.size)
	m.buf = m.buf[:0]
	if err != nil {
		return fmt.Errorf("writing %s: %w", m.f.Name(), err)
	}
	m.size += int64(n)
	m.dirty.Store(true)
	return nil
}

// drop forgets what is collected.
func (m *mediaFile) drop() { m.buf = m.buf[:0] }

// WriteAt changes committed bytes in place: headers.
func (m *mediaFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := m.f.WriteAt(p, off)
	if err != nil {
		return n, fmt.Errorf("writing %s: %w", m.f.Name(), err)
	}
	m.dirty.Store(true)
	return n, nil
}

// Seek tells pion's Ogg writer where the next page will lie; it asks for
// nothing else.
func (m *mediaFile) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.ErrUnsupported
	}
	return m.size + int64(len(m.buf)), nil
}

// sync brings the file to the disk if it has changed.
func (m *mediaFile) sync() error {
	if !m.dirty.Swap(false) {
		return nil
	}
	if err := m.f.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", m.f.Name(), err)
	}
	return nil
}
