package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lectern/lectern/stream"
)

// recover brings folders and catalogue into agreement at the start. A folder
// that cannot be read is reported and left as it is: it must not keep the
// gateway from starting.
func (s *Store) recover(ctx context.Context) error {
	known, err := s.indexed(ctx)
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.root.FS(), recordingsDir)
	if err != nil {
		return fmt.Errorf("reading recordings: %w", err)
	}
	for _, e := range entries {
		id := e.Name()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case strings.HasPrefix(id, deletedPrefix):
			if err := s.root.RemoveAll(filepath.Join(recordingsDir, id)); err != nil {
				s.log.Warn("deleted recording not removed", "recording", id, "err", err)
			}
			continue
		case !e.IsDir() || !validName(id, maxID):
			continue
		}
		complete := known[id]
		delete(known, id)
		if complete {
			continue
		}
		if err := s.recoverFolder(ctx, id); err != nil {
			s.log.Error("recording cannot be recovered", "recording", id, "err", err)
		}
	}
	for id := range known {
		if _, err := s.cat.write.ExecContext(ctx, `DELETE FROM recordings WHERE id = ?`, id); err != nil {
			return fmt.Errorf("removing recording %s from catalogue: %w", id, err)
		}
	}
	return errors.Join(s.sortFiles(ctx), s.cleanUploads(ctx))
}

// indexed returns the recordings in the catalogue, and whether they are
// finished there.
func (s *Store) indexed(ctx context.Context) (map[string]bool, error) {
	rows, err := s.cat.read.QueryContext(ctx, `SELECT id, summary ->> 'state' FROM recordings`)
	if err != nil {
		return nil, fmt.Errorf("reading catalogue: %w", err)
	}
	defer rows.Close() // read only
	known := make(map[string]bool)
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return nil, fmt.Errorf("reading catalogue: %w", err)
		}
		known[id] = State(state) != StateRecording
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading catalogue: %w", err)
	}
	return known, nil
}

// recoverFolder finishes a recording if a crash left it open, and enters it
// into the catalogue.
func (s *Store) recoverFolder(ctx context.Context, id string) error {
	m, lost := s.readManifest(id)
	if lost == nil && m.State != StateRecording {
		return s.index(ctx, m)
	}
	if lost != nil {
		m = &Manifest{Version: ManifestVersion, ID: id, Writer: s.cfg.Writer}
		m.Room, m.StartedAt = splitID(id)
	}
	root, err := s.root.OpenRoot(filepath.Join(recordingsDir, id))
	if err != nil {
		return err
	}
	defer root.Close() // read only
	began := time.Now()
	if err := recoverTracks(root, m); err != nil {
		return err
	}
	if lost != nil && len(m.Tracks) == 0 {
		return lost // nothing to rebuild it from
	}
	if lost != nil {
		s.log.Warn("manifest rebuilt from the files", "recording", id, "err", lost)
	}
	if err := cutLastLine(root, eventsFile); err != nil {
		return err
	}
	m.State = StateRecovered
	m.DurationMS = m.mediaEnd()
	m.EndedAt = m.StartedAt.Add(time.Duration(m.DurationMS * float64(time.Millisecond)))
	m.Gaps = cutGaps(m.Gaps)
	if m.Files == nil {
		m.Files = []SharedFile{}
	}
	if err := writeManifest(root, m); err != nil {
		return err
	}
	s.log.Info("recording recovered", "room", m.Room, "recording", id,
		"dur_ms", m.DurationMS, "bytes", m.size(), "took_ms", time.Since(began).Milliseconds())
	return s.index(ctx, m)
}

// cutGaps returns gaps, never nil: it is an array in JSON.
func cutGaps(gaps []Gap) []Gap {
	if gaps == nil {
		return []Gap{}
	}
	return gaps
}

// splitID reads room and begin from an id that Begin made.
func splitID(id string) (room string, began time.Time) {
	const layout = "2006-01-02T15-04-05Z"
	if len(id) <= len(layout)+1 {
		return "", time.Time{}
	}
	began, err := time.Parse(layout, id[:len(layout)])
	if err != nil {
		return "", time.Time{}
	}
	room = id[len(layout)+1:]
	if i := strings.LastIndexByte(room, '-'); i > 0 {
		room = room[:i]
	}
	return room, began
}

// recoverTracks finishes the tracks that the manifest names and those that it
// does not yet: a track can be younger than the manifest. Tracks without a
// single frame are removed.
func recoverTracks(root *os.Root, m *Manifest) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		base, isIndex := strings.CutSuffix(e.Name(), ".idx")
		if !isIndex || !e.Type().IsRegular() ||
			slices.ContainsFunc(m.Tracks, func(t TrackInfo) bool { return t.Index == e.Name() }) {
			continue
		}
		if t, ok := trackOfIndex(root, base); ok {
			m.Tracks = append(m.Tracks, t)
		}
	}
	kept := []TrackInfo{}
	for _, t := range m.Tracks {
		err := recoverTrack(root, &t)
		if err == nil && t.Frames > 0 {
			kept = append(kept, t)
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("recovering track %s: %w", t.ID, err)
		}
		for _, name := range []string{t.File, t.Index} {
			if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("removing empty track %s: %w", t.ID, err)
			}
		}
	}
	m.Tracks = kept
	return nil
}

// trackOfIndex makes an entry for the manifest of the head of an index.
func trackOfIndex(root *os.Root, base string) (TrackInfo, bool) {
	f, err := root.Open(base + ".idx")
	if err != nil {
		return TrackInfo{}, false
	}
	defer f.Close() // read only
	h, _, err := ReadIndex(f)
	if err != nil || h.Track != base || !validName(base, 2*maxName) {
		return TrackInfo{}, false
	}
	t := TrackInfo{
		ID: h.Track, Stream: h.Stream, Kind: h.Kind, Codec: h.Codec,
		File: base + ".ivf", Index: base + ".idx", OffsetMS: h.OffsetMS, ClockRate: h.ClockRate,
	}
	if h.Codec.Kind() == stream.Audio {
		t.File, t.Channels = base+".ogg", 2
	}
	return t, true
}

// recoverTrack cuts the torn tail of a track, repairs its header and its index
// and counts it anew.
func recoverTrack(root *os.Root, t *TrackInfo) error {
	if !filepath.IsLocal(t.File) || !filepath.IsLocal(t.Index) {
		return fmt.Errorf("file %q: %w", t.File, ErrBadName)
	}
	f, err := root.OpenFile(t.File, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if t.Codec.Kind() == stream.Audio {
		err = recoverOgg(root, f, info.Size(), t)
	} else {
		err = recoverIVF(root, f, info.Size(), t)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func recoverIVF(root *os.Root, f *os.File, size int64, t *TrackInfo) error {
	marks := readMarks(root, t, size)
	s, err := scanIVF(f, size, t.Codec, marks)
	if err == nil && len(marks) > 0 && len(s.keys) < len(marks) {
		s, err = scanIVF(f, size, t.Codec, nil) // the index does not fit the file
	}
	if err != nil || s.frames == 0 {
		return err
	}
	t.Sizes, t.Width, t.Height = nil, 0, 0
	w, h := 0, 0
	for _, k := range s.keys {
		if k.Width*k.Height > t.Width*t.Height {
			t.Width, t.Height = k.Width, k.Height
		}
		if k.Width != w || k.Height != h {
			w, h = k.Width, k.Height
			at := t.OffsetMS + float64(k.PTS)*1000/videoClock
			t.Sizes = appendSize(t.Sizes, Size{AtMS: at, Width: w, Height: h})
		}
	}
	duration := s.lastPTS + min(s.step, ticksOf(maxStep))
	t.Frames, t.Bytes, t.DurationMS = s.frames, s.size, float64(duration)*1000/videoClock
	if err := f.Truncate(s.size); err != nil {
		return err
	}
	if err := writeIVFHeader(f, t.Width, t.Height, duration, s.frames); err != nil {
		return err
	}
	return writeMarks(root, t, s.keys)
}

func recoverOgg(root *os.Root, f *os.File, size int64, t *TrackInfo) error {
	marks := readMarks(root, t, size)
	s := scanOgg(f, size, marks)
	if len(marks) > 0 && len(s.marks) < len(marks) {
		s = scanOgg(f, size, nil) // the index does not fit the file
	}
	if s.samples <= 0 {
		return nil // headers and lead-in only
	}
	t.Frames, t.Bytes, t.DurationMS = s.packets, s.size, ms(samplesTime(s.samples))
	if err := f.Truncate(s.size); err != nil {
		return err
	}
	if err := endOgg(f, s.lastAt, s.size); err != nil {
		return err
	}
	return writeMarks(root, t, s.marks)
}

// readMarks reads what of the index lies within the file; nil if there is none.
func readMarks(root *os.Root, t *TrackInfo, size int64) []IndexEntry {
	f, err := root.Open(t.Index)
	if err != nil {
		return nil
	}
	defer f.Close() // read only
	_, marks, err := ReadIndex(f)
	if err != nil {
		return nil
	}
	n := len(marks)
	for n > 0 && marks[n-1].Offset >= size {
		n--
	}
	return marks[:n]
}

// writeMarks replaces the index.
func writeMarks(root *os.Root, t *TrackInfo, marks []IndexEntry) error {
	b := indexLine(IndexHead{
		Version: ManifestVersion, Track: t.ID, Stream: t.Stream, Kind: t.Kind,
		Codec: t.Codec, ClockRate: t.ClockRate, OffsetMS: t.OffsetMS,
	})
	for _, m := range marks {
		b = append(b, indexLine(m)...)
	}
	return replaceFile(root, t.Index, b)
}

// cutLastLine cuts a line that was not written to its end.
func cutLastLine(root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	tail := make([]byte, min(info.Size(), maxEventLine+64))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return errors.Join(err, f.Close())
	}
	end := strings.LastIndexByte(string(tail), '\n') + 1
	if end < len(tail) {
		err = errors.Join(f.Truncate(info.Size()-int64(len(tail)-end)), f.Sync())
	}
	return errors.Join(err, f.Close())
}
