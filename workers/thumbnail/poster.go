package thumbnail

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"time"

	"github.com/disintegration/imaging"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Names and sizes of the poster.
const (
	posterName = "thumbnail"
	posterEdge = 720 // pixels of the short edge, at most
)

// keyTimes are where to look for key frames, as shares of the video track's length. If all of those are
// black, exactTimes are tried one by one, in this order: those of keyTimes, 0.55 to 0.95, 0.10 and 0.
var (
	keyTimes   = []float64{0.25, 0.40, 0.18}
	exactTimes = []float64{0.25, 0.40, 0.18, 0.55, 0.70, 0.85, 0.95, 0.10, 0}
)

// posterScratch returns how many bytes of scratch a poster needs.
func posterScratch(m pipeline.Media) int64 {
	files := int64(len(keyTimes) + len(exactTimes) + 1) // the JPEG and the WebP are far below one frame
	return files * frameBytes(picture.Fit(m.Video, posterEdge))
}

// poster picks the best candidate and writes it as JPEG, and as WebP if ffmpeg can.
func (r run) poster(ctx context.Context) ([]pipeline.Output, error) {
	best, err := r.pick(ctx)
	if err != nil {
		return nil, err
	}
	r.job.Progress(0.6, 0)
	jpeg, err := r.save(ctx, best.img, pipeline.Output{
		Name: posterName, Kind: pipeline.KindPoster, Path: posterName + ".jpg",
	})
	if err != nil {
		return nil, err
	}
	webp, err := r.webp(ctx, best.file)
	return append([]pipeline.Output{jpeg}, webp...), err
}

// webp writes a frame as WebP, if ffmpeg can.
func (r run) webp(ctx context.Context, frame string) ([]pipeline.Output, error) {
	encoders, err := r.worker.tools.Encoders(ctx)
	if err != nil || !encoders["libwebp"] {
		return nil, err
	}
	err = r.step(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{{
			Path: frame, Demuxer: "image2", Trusted: true,
			Options: []ffmpeg.Option{{Key: "pattern_type", Value: "none"}},
		}},
		Outputs: []ffmpeg.Output{{
			Path: r.file(posterName + ".webp"), Format: "webp", Maps: []string{"0:0"},
			Options: []ffmpeg.Option{
				{Key: "c:v", Value: "libwebp"}, {Key: "quality", Value: "82"}, {Key: "frames:v", Value: "1"},
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	out, err := r.publish(ctx, picture.Fit(r.media.Video, posterEdge), pipeline.Output{
		Name: posterName, Kind: pipeline.KindPoster, Path: posterName + ".webp",
	})
	return []pipeline.Output{out}, err
}

// candidate is a frame that may become the poster.
type candidate struct {
	file  string
	img   image.Image
	score float64
}

// good reports whether the frame is not black.
func (c candidate) good() bool { return c.score >= 1 }

// pick returns the sharpest of some key frames near 25% of the video. If they are black, or may be far from
// there, it decodes single frames exactly until one is not black.
func (r run) pick(ctx context.Context) (candidate, error) {
	spare, near, err := r.keyframes(ctx)
	if err != nil || near && spare.good() {
		return spare, err
	}
	var best candidate
	for i, share := range exactTimes {
		var c candidate
		c, err = r.exact(ctx, i, share)
		switch {
		case ctx.Err() != nil:
			return candidate{}, context.Cause(ctx)
		case ffmpeg.Exhausted(err):
			return candidate{}, err
		case err != nil && spare.good(): // there may be no other frame
			return spare, nil
		case err == nil && c.score >= best.score:
			best = c
		}
		if best.good() {
			return best, nil
		}
	}
	if best.img == nil || spare.score > best.score {
		best = spare
	}
	if best.img == nil {
		return best, err
	}
	return best, nil
}

// maxApart is how far apart key frames may be to count as near, as a share of the video.
const maxApart = 0.15

// keyframes decodes the key frames before keyTimes in one run of ffmpeg, and returns the best one; the zero
// candidate if there is none. near reports whether they are near those times: the index says so, or they
// differ.
func (r run) keyframes(ctx context.Context) (best candidate, near bool, err error) {
	groups := r.media.Video.Groups
	if groups != nil && groups.Average > maxApart*r.media.PictureEnd() {
		return best, false, nil
	}
	var c ffmpeg.Command
	for i, share := range keyTimes {
		in := picture.SourceNear(r.input, r.media, r.at(share))
		in.Limit = time.Millisecond
		// Only one frame of each input is decoded; threads would delay that.
		in.Options = append(in.Options, ffmpeg.Option{Key: "skip_frame", Value: "nokey"},
			ffmpeg.Option{Key: "noaccurate_seek"}, ffmpeg.Option{Key: "threads", Value: "1"})
		c.Inputs = append(c.Inputs, in)
		// Each input has a filter graph of its own, so that one without a frame does not block the others.
		c.Outputs = append(c.Outputs, frames(r.frame("key", i), fmt.Sprintf("%d:%d", i, r.media.Video.Stream), 1,
			ffmpeg.Option{Key: "filter:v", Value: r.filter()}))
	}
	if err := r.step(ctx, c); err != nil && (ctx.Err() != nil || ffmpeg.Exhausted(err)) {
		return best, false, err // other failures concern a single frame, or exact meets them again
	}
	near = groups != nil
	for i := range keyTimes {
		one, err := read(r.frame("key", i))
		if err != nil {
			continue
		}
		near = near || best.img != nil && one.score != best.score
		if best.img == nil || one.score > best.score {
			best = one
		}
	}
	return best, near, nil
}

// exact decodes the first frame at or after a share of the length. It skips frames that no other frame needs,
// and decodes all others from the key frame before.
func (r run) exact(ctx context.Context, i int, share float64) (candidate, error) {
	in := picture.Source(r.input, r.media)
	if share > 0 {
		in = picture.SourceNear(r.input, r.media, r.at(share))
		in.Options = append(in.Options, needed(r.media.Video)...)
	}
	file := r.frame("exact", i)
	err := r.step(ctx, ffmpeg.Command{
		Inputs:  []ffmpeg.Input{in},
		Filter:  ffmpeg.Link([]string{picture.Stream(r.media)}, r.filter(), []string{"v"}),
		Outputs: []ffmpeg.Output{frames(file, "[v]", 1)},
	})
	if err != nil {
		return candidate{}, err
	}
	return read(file)
}

// at returns the time at a share of the way from the first frame of the video track to its last. Before and
// after these, outputs only repeat them.
func (r run) at(share float64) time.Duration {
	delay := picture.Delay(r.media)
	return seconds(delay + share*(r.media.PictureEnd()-delay))
}

// filter scales frames to the poster's size.
func (r run) filter() string {
	return picture.Still(r.media.Video, picture.Fit(r.media.Video, posterEdge))
}

func (r run) frame(name string, i int) string {
	return r.file(fmt.Sprintf("%s-%d.%s", name, i, frameCodec))
}

// read reads a frame and measures its sharpness.
func read(file string) (candidate, error) {
	img, err := imaging.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return candidate{}, pipeline.Fail(pipeline.CodeMalformed, "no frame of the video can be decoded")
	}
	if err != nil {
		return candidate{}, pipeline.Fail(pipeline.CodeVerification, "read a frame: %w", err)
	}
	return candidate{file: file, img: img, score: sharpness(img)}, nil
}

// Limits of sharpness.
const (
	blackLevel = 32  // mean luma, of 255, below which a frame counts as black
	compareAt  = 480 // pixels: the width at which frames are compared
)

// sharpness returns the variance of the Laplacian of a frame's luma. For a black frame it is nearly 0, so
// that it wins only if there is no other.
func sharpness(img image.Image) float64 {
	gray := imaging.Grayscale(img)
	if gray.Bounds().Dx() > compareAt {
		gray = imaging.Resize(gray, compareAt, 0, imaging.Box)
	}
	w, h := gray.Bounds().Dx(), gray.Bounds().Dy()
	at := func(x, y int) float64 { return float64(gray.Pix[y*gray.Stride+4*x]) }
	var sum, squares, luma float64
	for y := range h {
		for x := range w {
			luma += at(x, y)
			if x == 0 || y == 0 || x == w-1 || y == h-1 {
				continue
			}
			l := 4*at(x, y) - at(x-1, y) - at(x+1, y) - at(x, y-1) - at(x, y+1)
			sum, squares = sum+l, squares+l*l
		}
	}
	n := float64(w * h)
	variance := max(0, squares/n-(sum/n)*(sum/n))
	if luma/n < blackLevel {
		return variance * 1e-6
	}
	return variance
}
