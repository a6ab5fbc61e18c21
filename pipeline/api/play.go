package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/pipeline/playback"
	"github.com/reelmill/reelmill/storage"
)

const (
	// playSeconds is how long content may be kept. It is short: a path leads to another object when its job is
	// done again. The ETag changes then, and a revalidation is cheap.
	playSeconds = 60
	// growSeconds is shorter than a segment: players request a growing playlist once per target duration, and a
	// stale one delays them. A second is enough for one answer to serve a crowd.
	growSeconds = 1
	// stillSeconds is long, since a frame of a rendition stays the same and takes work to make.
	stillSeconds = 3600
	// playPolicy lets a browser show the one file of the answer, and neither run nor load anything else.
	playPolicy = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
	// maxRanges is how many ranges one request may ask for. With more, it gets the whole object.
	maxRanges = 8
	// window is how many bytes the store is asked for at a time, and the most that a client can waste by
	// leaving.
	window = 8 << 20
)

// play serves an output, whole or in ranges (RFC 9110, 14), or a playlist of a video that is still being
// processed. Whoever knows the id may play, unless the video is signed: then with a token or a pass.
func (s *server) play(w http.ResponseWriter, r *http.Request) {
	s.playFile(w, r, r.PathValue("id"), r.PathValue("path"))
}

// playPath serves what a request may play.
func (s *server) playPath(w http.ResponseWriter, r *http.Request, v viewing) {
	object, info, err := s.locate(r.Context(), v.video, v.path)
	if errors.Is(err, pipeline.ErrNotFound) && isPlaylist(v.path) {
		s.playGrowing(w, r, v)
		return
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if v.lead != "" && playback.Leads(v.path) {
		s.playLed(w, r, v, object, info)
		return
	}
	describeContent(r, w.Header(), playType(object), v.cache(playSeconds), etag(object))
	content := &objectReader{ctx: r.Context(), store: s.cfg.Store, key: object.Key, size: info.Size}
	http.ServeContent(&rangeProblem{ResponseWriter: w, s: s, r: r}, r, "", info.Modified, content)
	if err := content.close(); err != nil && r.Context().Err() == nil {
		// The header is sent, so the client learns of the error by a body that ends early.
		s.cfg.Logger.ErrorContext(r.Context(), "read object", "request_id", requestID(r.Context()),
			"key", object.Key, "error", err)
	}
}

// describeContent sets the headers of all content, and ignores a Range header with too many ranges, or with
// one that is empty.
func describeContent(r *http.Request, h http.Header, media, cache, tag string) {
	h.Set("Content-Type", media)
	if !isShown(media) {
		h.Set("Content-Disposition", "attachment")
	}
	h.Set("Cache-Control", cache)
	h.Set("ETag", tag)
	if rng := r.Header.Get("Range"); strings.Count(rng, ",") >= maxRanges || emptySuffix(rng) {
		r.Header.Del("Range")
	}
}

// emptySuffix reports whether a Range asks for the last 0 bytes. http.ServeContent answers that with a part
// that ends before it begins.
func emptySuffix(rng string) bool {
	for part := range strings.SplitSeq(strings.TrimPrefix(rng, "bytes="), ",") {
		first, last, _ := strings.Cut(part, "-")
		n, err := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
		if strings.TrimSpace(first) == "" && err == nil && n == 0 {
			return true
		}
	}
	return false
}

// isShown reports whether a browser may show content in place: media, subtitles and playlists. It saves all
// else.
func isShown(media string) bool {
	kind, _, _ := strings.Cut(media, "/")
	switch {
	case kind == "video", kind == "audio", kind == "image" && media != "image/svg+xml":
		return true
	}
	return slices.Contains([]string{
		"text/vtt; charset=utf-8", "application/vnd.apple.mpegurl", "application/dash+xml",
	}, media)
}

// isPlaylist reports whether manifest.Growing may have a playlist at path.
func isPlaylist(path string) bool {
	return path == manifest.MasterName || strings.HasSuffix(path, "/"+manifest.PlaylistName)
}

// playGrowing serves a playlist that no job has written yet, made from the outputs of completed jobs. Once a
// job has written it, play serves that one, which begins with the same segments.
func (s *server) playGrowing(w http.ResponseWriter, r *http.Request, v viewing) {
	text, err := s.growing(r.Context(), v.video, v.path)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.sendText(w, r, v, storage.ContentType(v.path), growSeconds, text)
}

// growing returns the playlist at path of a video that is playable.
func (s *server) growing(ctx context.Context, video, path string) ([]byte, error) {
	view, outputs, err := s.cfg.Catalog.Played(ctx, video)
	if err != nil {
		return nil, noSuch("output", err)
	}
	if !view.Playable {
		return nil, fail(codeNotFound, "There is no such output.")
	}
	tree := manifest.Growing(outputs)
	if view.Status.Terminal() {
		tree = tree.Ended()
	}
	text, err := tree.Text(path)
	return text, noSuch("output", err)
}

// locate finds the object at path of a video in catalog and store. When no output has the path, its error
// wraps pipeline.ErrNotFound.
func (s *server) locate(ctx context.Context, video, path string) (pipeline.Object, storage.Info, error) {
	missing := fail(codeNotFound, "There is no such output.")
	if checkVideo(video) != nil {
		return pipeline.Object{}, storage.Info{}, missing
	}
	object, err := s.cfg.Catalog.Resolve(ctx, video, path)
	if errors.Is(err, pipeline.ErrNotFound) {
		return object, storage.Info{}, missing.because(err)
	}
	if err != nil {
		return object, storage.Info{}, err
	}
	info, err := s.cfg.Store.Stat(ctx, object.Key)
	if errors.Is(err, storage.ErrNotFound) { // deleted a moment ago
		return object, info, missing
	}
	if err != nil {
		return object, info, fail(codeStorageFailed, "The object store did not answer.").because(err)
	}
	return object, info, nil
}

func playType(o pipeline.Object) string {
	if o.ContentType != "" {
		return o.ContentType
	}
	return storage.ContentType(o.Key)
}

// etag returns a strong validator: the hash of the object or, when that is unknown, of its key, under which
// an object never changes.
func etag(o pipeline.Object) string {
	if o.SHA256 != "" {
		return `"` + o.SHA256 + `"`
	}
	sum := sha256.Sum256([]byte(o.Key))
	return `"k` + hex.EncodeToString(sum[:16]) + `"`
}

// rangeProblem turns the plain answers of http.ServeContent into problem documents.
type rangeProblem struct {
	http.ResponseWriter
	s       *server
	r       *http.Request
	refused bool
}

// WriteHeader writes the status, or a whole problem document instead of 416 and 500.
func (w *rangeProblem) WriteHeader(status int) {
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		w.refused = true
		w.s.refuse(w.ResponseWriter, w.r, fail(codeRange, "The range is malformed or outside the file."))
	case http.StatusInternalServerError:
		w.refused = true
		w.s.refuse(w.ResponseWriter, w.r, fail(codeInternal, "The file could not be read."))
	default:
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write drops the plain text of an answer that a problem document replaced.
func (w *rangeProblem) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// objectReader reads an object as an io.ReadSeeker. It asks the store for one window at a time, when it is
// read.
type objectReader struct {
	ctx   context.Context
	store storage.Store
	key   string
	size  int64
	at    int64 // where the next byte is read
	open  io.ReadCloser
	left  int64 // bytes of the window that is open
	err   error // the first error of the store
}

// Seek implements io.Seeker; it reads nothing.
func (o *objectReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if offset != o.at {
		o.drop()
	}
	o.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (o *objectReader) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if o.err == nil && o.at >= o.size {
			return 0, io.EOF
		}
		o.openWindow()
		if o.err != nil {
			return 0, o.err
		}
		n, err := o.open.Read(p)
		o.at, o.left = o.at+int64(n), o.left-int64(n)
		if err != nil || o.left == 0 {
			o.endWindow(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

func (o *objectReader) openWindow() {
	if o.open != nil || o.err != nil {
		return
	}
	o.left = min(window, o.size-o.at)
	rc, _, err := o.store.Get(o.ctx, o.key, storage.Range{Offset: o.at, Length: o.left})
	if err != nil {
		o.err = err
		return
	}
	o.open = rc
}

// endWindow closes a window that was read to its end or broke off.
func (o *objectReader) endWindow(err error) {
	switch {
	case errors.Is(err, io.EOF) && o.left > 0:
		o.err = io.ErrUnexpectedEOF
	case err != nil && !errors.Is(err, io.EOF):
		o.err = err
	}
	o.drop()
}

// drop closes the open window, if any.
func (o *objectReader) drop() {
	if o.open == nil {
		return
	}
	if err := o.open.Close(); err != nil && o.err == nil {
		o.err = err
	}
	o.open = nil
}

// close closes the open window, and returns the first error of the store.
func (o *objectReader) close() error {
	o.drop()
	return o.err
}
