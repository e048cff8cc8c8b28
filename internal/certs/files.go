package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// expirySoon is when a certificate that somebody else must renew gets a word in
// the log at each load.
const expirySoon = 7 * 24 * time.Hour

// watched are the files of a certificate and what was last seen of them. Only
// the goroutine of watch touches it after openFiles.
type watched struct {
	seen   [2]os.FileInfo // at the last look
	loaded [2]os.FileInfo // tried last, whether or not it went well
}

func (s *Source) openFiles(ctx context.Context) error {
	w := &watched{}
	var err error
	if w.loaded, err = s.statFiles(); err != nil {
		return fmt.Errorf("reading certificate: %w", err)
	}
	w.seen = w.loaded
	if err := s.loadFiles(); err != nil {
		return err
	}
	s.watch(ctx, filesEvery, func() { s.lookAtFiles(w) })
	return nil
}

// lookAtFiles reads the files again when they have changed and then stood still
// for one look: certificate and key are two files, and are not written at once.
// What cannot be used is reported once and changes nothing.
func (s *Source) lookAtFiles(w *watched) {
	now, err := s.statFiles()
	if err != nil {
		if w.seen != [2]os.FileInfo{} {
			s.log.Warn("certificate files cannot be read, the old certificate stays", slog.Any("err", err))
		}
		w.seen, w.loaded = [2]os.FileInfo{}, [2]os.FileInfo{}
		return
	}
	settled := same(now, w.seen)
	w.seen = now
	if !settled || same(now, w.loaded) {
		return
	}
	w.loaded = now
	if err := s.loadFiles(); err != nil {
		s.log.Warn("new certificate cannot be used, the old one stays", slog.Any("err", err))
		return
	}
	s.log.Info("certificate loaded", slog.Time("expires", s.Expires()))
}

func (s *Source) statFiles() ([2]os.FileInfo, error) {
	cert, err := os.Stat(s.cfg.CertFile)
	key, kerr := os.Stat(s.cfg.KeyFile)
	return [2]os.FileInfo{cert, key}, errors.Join(err, kerr)
}

// same says whether both files are what they were. Another file of the same
// size and time counts as a change: links are switched like that.
func same(a, b [2]os.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil {
			return false
		}
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// loadFiles reads certificate and key and puts them in force if they fit.
func (s *Source) loadFiles() error {
	cert, err := tls.LoadX509KeyPair(s.cfg.CertFile, s.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("loading certificate: %w", err)
	}
	if left := cert.Leaf.NotAfter.Sub(s.now()); left < expirySoon {
		s.log.Warn("certificate expires soon or has expired", slog.Time("expires", cert.Leaf.NotAfter))
	}
	s.current.Store(&cert)
	return nil
}
