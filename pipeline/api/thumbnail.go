package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/storage"
)

// Sides of a thumbnail that can be asked for, in pixels.
const (
	minStillSide = 16
	maxStillSide = 3840
)

// stillQueries are the parameters of a thumbnail.
var stillQueries = []string{"time", "width", "height", "fit"}

// wanted is what a request asks for.
type wanted struct {
	time   float64 // seconds from the start of the video
	timed  bool    // there is a time; without one, the poster is meant
	size   pipeline.Size
	fit    pipeline.Fit
	format pipeline.StillFormat
}

func (s *server) routeThumbnails() {
	for _, f := range stillFormats() {
		s.mux.HandleFunc("GET /play/{id}/"+stillPath(f), s.playThumbnail(f))
	}
}

// playThumbnail serves a frame of a video as an image of a size. Without any parameter it is the poster, as a
// job made it; with a size alone it is the poster in that size.
func (s *server) playThumbnail(format pipeline.StillFormat) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.playFile(w, r, r.PathValue("id"), stillPath(format))
	}
}

func stillPath(format pipeline.StillFormat) string { return "thumbnail." + string(format) }

// stillAt returns the format of the image at a path, if it is that of thumbnails.
func stillAt(path string) (pipeline.StillFormat, bool) {
	for _, f := range stillFormats() {
		if path == stillPath(f) {
			return f, true
		}
	}
	return "", false
}

func stillFormats() []pipeline.StillFormat {
	return []pipeline.StillFormat{pipeline.StillJPEG, pipeline.StillWebP}
}

// playStill serves the image that the query of u asks for.
func (s *server) playStill(
	w http.ResponseWriter, r *http.Request, v viewing, u *url.URL, f pipeline.StillFormat,
) {
	data, err := s.thumbnail(r.Context(), v.video, u, f)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.sendStill(w, r, v, data)
}

// thumbnail returns the image that the query of u asks for.
func (s *server) thumbnail(ctx context.Context, video string, u *url.URL, f pipeline.StillFormat) (
	[]byte, error,
) {
	if s.cfg.Stills == nil {
		return nil, fail(codeUnavailable, "This server makes no thumbnails.")
	}
	want, err := parseWanted(u)
	if err != nil {
		return nil, err
	}
	want.format = f
	still, err := s.chooseStill(ctx, video, want)
	if err != nil {
		return nil, err
	}
	return s.stills.get(ctx, video, still)
}

// parseWanted reads a query.
func parseWanted(u *url.URL) (wanted, error) {
	if err := checkQuery(u, stillQueries...); err != nil {
		return wanted{}, err
	}
	q, wrong := u.Query(), []*failure(nil)
	w := wanted{timed: q.Has("time"), fit: pipeline.Fits()[0]}
	if w.timed {
		t, err := strconv.ParseFloat(q.Get("time"), 64)
		if err != nil || math.IsInf(t, 0) || math.IsNaN(t) || t < 0 {
			wrong = append(wrong, failAt("/query/time", codeInvalid,
				"The time %.40q is not a number of seconds from 0 on, such as 12.5.", printable(q.Get("time"))))
		}
		w.time = t
	}
	for name, side := range map[string]*int{"width": &w.size.Width, "height": &w.size.Height} {
		if !q.Has(name) {
			continue
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < minStillSide || n > maxStillSide {
			wrong = append(wrong, failAt("/query/"+name, codeInvalid,
				"The %s %.40q is not a whole number of pixels from %d to %d.", name, printable(q.Get(name)),
				minStillSide, maxStillSide))
		}
		*side = n
	}
	if q.Has("fit") {
		w.fit = pipeline.Fit(q.Get("fit"))
		if !slices.Contains(pipeline.Fits(), w.fit) {
			wrong = append(wrong, failAt("/query/fit", codeInvalid, "%s.",
				sentence(pipeline.Unknown("fit", printable(q.Get("fit")), fitNames()))))
		}
	}
	slices.SortFunc(wrong, func(a, b *failure) int { return strings.Compare(a.pointer, b.pointer) })
	return w, failAll(wrong)
}

func fitNames() (names []string) {
	for _, f := range pipeline.Fits() {
		names = append(names, string(f))
	}
	return names
}

// chooseStill says what the image is made of: of the poster if no time is asked for and there is one, else of
// a rendition.
func (s *server) chooseStill(ctx context.Context, video string, w wanted) (pipeline.Still, error) {
	if checkVideo(video) != nil {
		return pipeline.Still{}, fail(codeNotFound, "There is no such video.")
	}
	view, outputs, err := s.cfg.Catalog.Played(ctx, video)
	if err != nil {
		return pipeline.Still{}, noSuch("video", err)
	}
	if !w.timed {
		if still, ok := posterStill(outputs, w); ok {
			return still, nil
		}
	}
	length := 0.0
	if view.Media != nil {
		length = view.Media.Duration
	}
	if !w.timed {
		w.time = posterShare * length
	}
	if length > 0 && w.time > length {
		return pipeline.Still{}, failAt("/query/time", codeInvalid,
			"The time %s s is beyond the end of the video, which is %s s long.", shortSeconds(w.time),
			shortSeconds(length))
	}
	still, ok := frameStill(outputs, w)
	if !ok {
		return still, fail(codeNotPlayable, "No rendition of the video has a picture at %s s; the video is %s.",
			shortSeconds(w.time), view.Status)
	}
	return still, nil
}

// posterShare is the time that is meant without time and poster, as a share of the length.
const posterShare = 0.25

func shortSeconds(t float64) string { return strconv.FormatFloat(math.Round(t*1000)/1000, 'f', -1, 64) }

// posterStill makes the image of the poster that a job left.
func posterStill(outputs []pipeline.Output, w wanted) (pipeline.Still, bool) {
	for _, o := range slices.Backward(outputs) {
		if o.Kind == pipeline.KindPoster && o.Path == "thumbnail.jpg" && o.Width > 0 && o.Height > 0 {
			return newStill(pipeline.Still{Keys: []string{o.Key}, Poster: true}, o, w), true
		}
	}
	return pipeline.Still{}, false
}

// newStill completes s, which is made of an output.
func newStill(s pipeline.Still, of pipeline.Output, w wanted) pipeline.Still {
	s.Frame, s.Format = pipeline.Size{Width: of.Width, Height: of.Height}, w.format
	s.StillShape = w.fit.Shape(s.Frame, w.size)
	return s
}

// frameStill makes the image of the smallest rendition that needs no enlarging, else of the largest. Those of
// the video's own folder come before those of later steps. ok is false if no rendition has the time yet.
func frameStill(outputs []pipeline.Output, w wanted) (best pipeline.Still, ok bool) {
	var all []candidate
	for _, r := range manifest.Join(outputs) {
		if still, found := stillOf(r, w); found {
			still = newStill(still, r.Output, w)
			all = append(all, candidate{still, strings.Count(r.Dir, "/"), enlarged(still.Frame, w)})
		}
	}
	if len(all) == 0 {
		return pipeline.Still{}, false
	}
	return slices.MinFunc(all, func(a, b candidate) int {
		larger := cmp.Compare(b.Frame.Width*b.Frame.Height, a.Frame.Width*a.Frame.Height)
		if w.size != (pipeline.Size{}) && a.enlarged == 0 {
			larger = -larger
		}
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.enlarged, b.enlarged), larger)
	}).Still, true
}

// candidate is an image that may be made.
type candidate struct {
	pipeline.Still
	depth    int // of the folder of its rendition
	enlarged int
}

// enlarged returns 1 if a frame is too small for what is wanted, else 0.
func enlarged(frame pipeline.Size, w wanted) int {
	fit := w.fit
	if fit == pipeline.FitPreserve { // which enlarges nothing, so it would hide that
		fit = pipeline.FitPad
	}
	if s := fit.Shape(frame, w.size); s.Scaled.Width > s.Cut.Width || s.Scaled.Height > s.Cut.Height {
		return 1
	}
	return 0
}

// stillOf finds the segment of a rendition that has the time. The last one also has what is a little later,
// since a rendition may be shorter than the video by a part of a frame.
func stillOf(r manifest.Rendition, w wanted) (pipeline.Still, bool) {
	o := r.Output
	if o.Kind != pipeline.KindRendition || o.Width <= 0 || o.Height <= 0 {
		return pipeline.Still{}, false
	}
	from, n, last := 0.0, 0, len(r.Track.Segments)-1
	for ; n <= last; n++ {
		to := from + r.Track.Segments[n].Duration
		if w.time < to || n == last && r.Complete {
			break
		}
		from = to
	}
	if n > last {
		return pipeline.Still{}, false
	}
	length := r.Track.Segments[n].Duration
	at := atFrame(min(w.time-from, length), length, o.FrameRate)
	for _, run := range r.Runs {
		if s := run.Segments; n >= s.First && n < s.First+s.Count {
			key := strings.Replace(run.Key, pipeline.SegmentVerb, fmt.Sprintf(pipeline.SegmentVerb, n), 1)
			return pipeline.Still{
				Keys: []string{r.Init.Key, key}, At: at, FrameRate: o.FrameRate,
			}, true
		}
	}
	return pipeline.Still{}, false
}

// atFrame returns when the frame begins that is shown at a time of a segment; length is that of the segment.
func atFrame(at, length, rate float64) float64 {
	if rate <= 0 {
		return max(0, at)
	}
	last := math.Round(length*rate) - 1
	return max(0, min(math.Floor(at*rate+frameSlack), last)) / rate
}

// frameSlack is how much earlier than its frame a time may be, in frames: times are rounded.
const frameSlack = 0.05

// sendStill answers with an image.
func (s *server) sendStill(w http.ResponseWriter, r *http.Request, v viewing, data []byte) {
	s.sendText(w, r, v, storage.ContentType(v.path), stillSeconds, data)
}

// stillName returns the name under which an image is kept: equal images have equal names, however they were
// asked for.
func stillName(s pipeline.Still) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // it has numbers and strings alone
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16]) + "." + string(s.Format)
}
