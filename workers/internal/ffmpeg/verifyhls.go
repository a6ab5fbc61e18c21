package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/Eyevinn/hls-m3u8/m3u8"
)

// HLSResult is what VerifyHLS measured.
type HLSResult struct {
	Probe          ProbeResult // of the init section and the first segment; so is its Duration
	InitSize       int64       // bytes of the EXT-X-MAP section
	TargetDuration uint        // seconds, as declared
	Duration       float64     // seconds, sum of EXTINF
	Segments       []HLSSegment
}

// HLSSegment is one verified segment.
type HLSSegment struct {
	URI      string  // as in the playlist
	Size     int64   // bytes
	Duration float64 // seconds, EXTINF
}

const (
	maxPlaylist      = 16 << 20
	maxInit          = 4 << 20
	segmentTolerance = 0.25 // seconds between EXTINF and the samples of a segment
)

// VerifyHLS is the gate before a VOD media playlist of fMP4 segments is published. It
//
//  1. parses the playlist strictly: one EXT-X-MAP, ENDLIST, at least one segment, no gaps or keys, every
//     EXTINF within TARGETDURATION, and a sum that matches e.Duration;
//  2. opens init section and segments inside e.Root only; each must exist and not be empty;
//  3. walks the boxes of every segment: whole boxes, samples as long as EXTINF, decode times without gaps;
//  4. joins the init section with the first and with the last segment (with all for FullDecode), and checks
//     and decodes those as VerifyFile does.
//
// It refuses master and I-frame playlists, MPEG-TS segments and growing playlists.
func (t Tools) VerifyHLS(ctx context.Context, playlistPath string, e Expect) (HLSResult, error) {
	h, err := openHLS(playlistPath, e)
	if err != nil {
		return HLSResult{}, err
	}
	defer h.root.Close()
	if err := h.check(ctx, e); err != nil {
		return h.result, err
	}
	dir, err := os.MkdirTemp(e.Scratch, "verify-hls-")
	if err != nil {
		return h.result, fmt.Errorf("make verify directory: %w", err)
	}
	defer os.RemoveAll(dir) // scratch
	return h.result, t.decodeHLS(ctx, h, dir, e)
}

// hls is one playlist being judged.
type hls struct {
	root     *os.Root
	dir      string // of the playlist, inside root, with slashes
	playlist *m3u8.MediaPlaylist
	segments []*m3u8.MediaSegment
	init     []byte
	tracks   tracks
	result   HLSResult
}

func openHLS(playlistPath string, e Expect) (*hls, error) {
	rootDir := e.Root
	if rootDir == "" {
		rootDir = filepath.Dir(playlistPath)
	}
	rel, err := filepath.Rel(rootDir, playlistPath)
	if err != nil || !filepath.IsLocal(rel) {
		return nil, failed("playlist", "outside of its root")
	}
	root, err := os.OpenRoot(rootDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, failed("missing", "no directory")
	} else if err != nil {
		return nil, fmt.Errorf("open output directory: %w", err)
	}
	h := &hls{root: root, dir: path.Dir(filepath.ToSlash(rel))}
	if err := h.parse(path.Base(filepath.ToSlash(rel))); err != nil {
		_ = root.Close() // the parse error matters
		return nil, err
	}
	return h, nil
}

func (h *hls) parse(name string) error {
	data, err := h.read(name, 0, 0, maxPlaylist)
	if err != nil {
		return err
	}
	p, kind, err := decodePlaylist(data)
	if err != nil {
		return failed("playlist", "%v", err)
	}
	media, ok := p.(*m3u8.MediaPlaylist)
	if !ok || kind != m3u8.MEDIA || media.Iframe {
		return failed("playlist", "not a media playlist")
	}
	h.playlist, h.segments = media, media.GetAllSegments()
	h.result.TargetDuration, err = declaredTarget(data)
	return err
}

// decodePlaylist parses a playlist strictly.
func decodePlaylist(data []byte) (p m3u8.Playlist, kind m3u8.ListType, err error) {
	defer func() { // the library panics on some damaged ones
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	return m3u8.DecodeFrom(bytes.NewReader(data), true)
}

// declaredTarget parses EXT-X-TARGETDURATION from the text: the library raises its own copy to the longest
// segment.
func declaredTarget(playlist []byte) (uint, error) {
	for line := range strings.Lines(string(playlist)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "#EXT-X-TARGETDURATION:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31)
			if err != nil || n == 0 {
				return 0, failed("playlist", "EXT-X-TARGETDURATION %q", v)
			}
			return uint(n), nil
		}
	}
	return 0, failed("playlist", "no EXT-X-TARGETDURATION")
}

// check does every check that needs no decoder.
func (h *hls) check(ctx context.Context, e Expect) error {
	if !h.playlist.Closed {
		return failed("playlist", "no EXT-X-ENDLIST")
	}
	if len(h.segments) == 0 {
		return failed("playlist", "no segments")
	}
	if err := h.loadInit(); err != nil {
		return err
	}
	for i, s := range h.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := h.checkSegment(i, s); err != nil {
			return err
		}
	}
	return e.checkDuration(h.result.Duration)
}

// loadInit reads the only init section. We write no playlist that changes it halfway.
func (h *hls) loadInit() error {
	m := h.playlist.Map
	for _, s := range h.segments {
		if m == nil {
			m = s.Map
		}
		if s.Map != nil && !s.Map.Equal(m) {
			return failed("playlist", "more than one EXT-X-MAP")
		}
		if len(s.Keys) > 0 || s.Gap {
			return failed("playlist", "encrypted segment or gap")
		}
	}
	if m == nil || len(h.playlist.Keys) > 0 {
		return failed("playlist", "no EXT-X-MAP, or encrypted")
	}
	var err error
	if h.init, err = h.read(m.URI, m.Offset, m.Limit, maxInit); err != nil {
		return err
	}
	h.result.InitSize = int64(len(h.init))
	h.tracks, err = readInit(h.init)
	return err
}

func (h *hls) checkSegment(i int, s *m3u8.MediaSegment) error {
	if !(s.Duration > 0) || math.IsInf(s.Duration, 0) {
		return failed("playlist", "segment %d: EXTINF %v", i, s.Duration)
	}
	if math.Round(s.Duration) > float64(h.result.TargetDuration) {
		return failed("playlist", "segment %d: EXTINF %v above EXT-X-TARGETDURATION %d",
			i, s.Duration, h.result.TargetDuration)
	}
	part, closer, err := h.open(s.URI, s.Offset, s.Limit)
	if err != nil {
		return err
	}
	defer closer.Close() // read only
	if s.Discontinuity {
		h.tracks.forget()
	}
	got, err := h.tracks.segment(part)
	if err != nil {
		return failed("segment", "segment %d (%s): %v", i, s.URI, err)
	}
	if math.Abs(got-s.Duration) > segmentTolerance {
		return failed("timing", "segment %d (%s): EXTINF %.3f s, samples %.3f s", i, s.URI, s.Duration, got)
	}
	h.result.Duration += s.Duration
	done := HLSSegment{URI: s.URI, Size: part.Size(), Duration: s.Duration}
	h.result.Segments = append(h.result.Segments, done)
	return nil
}

// open opens a URI of the playlist, or a byte range of it, inside the root. limit 0 means to the end.
func (h *hls) open(uri string, offset, limit int64) (*io.SectionReader, io.Closer, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Path == "" || u.Path[0] == '/' || u.String() != u.EscapedPath() {
		return nil, nil, failed("playlist", "%q is no relative file name", uri)
	}
	f, err := h.root.Open(filepath.FromSlash(path.Join(h.dir, u.Path)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, failed("missing", "%s", uri)
	} else if err != nil {
		return nil, nil, failed("missing", "%s: not readable inside the output's directory", uri)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("stat %s: %w", uri, err), f.Close())
	}
	size := info.Size()
	if limit == 0 {
		limit = size - offset
	}
	switch {
	case !info.Mode().IsRegular():
		err = failed("missing", "%s: not a regular file", uri)
	case size == 0:
		err = failed("empty", "%s: 0 bytes", uri)
	case offset < 0 || limit <= 0 || limit > size || offset > size-limit:
		err = failed("segment", "%s: range %d@%d of %d bytes", uri, limit, offset, size)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return io.NewSectionReader(f, offset, limit), f, nil
}

// read reads a small file as open does.
func (h *hls) read(uri string, offset, limit, atMost int64) ([]byte, error) {
	part, closer, err := h.open(uri, offset, limit)
	if err != nil {
		return nil, err
	}
	defer closer.Close() // read only
	if part.Size() > atMost {
		return nil, failed("segment", "%s: %d bytes, at most %d", uri, part.Size(), atMost)
	}
	data, err := io.ReadAll(part)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", uri, err)
	}
	return data, nil
}

// decodeHLS decodes the first and the last segment, or all of them as one file. The streams are those of
// the first, since all have one init section. The probe's own times do not matter: they count from the
// start of the video, not of the segment.
func (t Tools) decodeHLS(ctx context.Context, h *hls, dir string, e Expect) error {
	last := len(h.segments) - 1
	ranges := [][]*m3u8.MediaSegment{h.segments[:1], h.segments[last:]}
	if last == 0 || e.FullDecode {
		ranges = [][]*m3u8.MediaSegment{h.segments}
	}
	var windows []window
	for i, segments := range ranges {
		file, length := filepath.Join(dir, fmt.Sprintf("%d.mp4", i)), 0.0
		if err := h.join(file, segments); err != nil {
			return err
		}
		for _, s := range segments {
			length += s.Duration
		}
		if i == 0 {
			probe, err := t.Probe(ctx, file, ProbeOptions{Demuxer: "mov"})
			if h.result.Probe = probe; err != nil {
				return blame("probe", err)
			}
			if err := e.checkStreams(probe); err != nil {
				return err
			}
		}
		for _, s := range append(h.result.Probe.Videos(), h.result.Probe.Audios()...) {
			in := Input{Path: file, Demuxer: "mov"}
			windows = append(windows, window{in, s, "segment", time.Duration(length * float64(time.Second))})
		}
	}
	return t.verifyWindows(ctx, windows)
}

// join writes init section and segments, one after the other, to a new file.
func (h *hls) join(file string, segments []*m3u8.MediaSegment) (err error) {
	w, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("join segments: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := w.Write(h.init); err != nil {
		return fmt.Errorf("join segments: %w", err)
	}
	for _, s := range segments {
		part, closer, err := h.open(s.URI, s.Offset, s.Limit)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, part)
		_ = closer.Close() // read only
		if err != nil {
			return fmt.Errorf("join segments: %w", err)
		}
	}
	return nil
}
