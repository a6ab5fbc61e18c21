package thumbnail

import (
	"context"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // verify decodes what was written
	"os"
	"path/filepath"

	"github.com/disintegration/imaging"
	_ "golang.org/x/image/webp" // the same

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Params are none yet: sizes and times follow from the video.
type Params struct{}

// Worker is the worker type "thumbnail".
type Worker struct{ tools ffmpeg.Tools }

// New returns the worker.
func New(tools ffmpeg.Tools) *Worker { return &Worker{tools: tools} }

// Check implements workers.Checker.
func (w *Worker) Check(ctx context.Context) error {
	encoders, err := w.tools.Encoders(ctx)
	if err == nil && !encoders["png"] {
		err = fmt.Errorf("ffmpeg has no png encoder: install a full build, such as apt-get install ffmpeg")
	}
	return err
}

// Plan implements workers.Worker: one job, soon, since people wait for a picture.
func (w *Worker) Plan(_ Params, m pipeline.Media) ([]pipeline.Job, error) {
	return []pipeline.Job{{Priority: pipeline.High, Weight: 1, Timeout: pipeline.Seconds(300 + m.Duration)}}, nil
}

// Work implements workers.Worker.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	input, err := job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	r := run{tools: w.tools, job: job.Attempt, media: job.Media(), input: input}
	var result pipeline.Result
	for _, make := range []func(context.Context) ([]pipeline.Output, error){r.poster, r.webp, r.storyboard} {
		outputs, err := make(ctx)
		if err != nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		result.Outputs = append(result.Outputs, outputs...)
	}
	return result, nil
}

// run is one attempt.
type run struct {
	tools ffmpeg.Tools
	job   workers.Attempt
	media pipeline.Media
	input string
}

// posterEdge is the short edge of a poster, and quality of all JPEGs.
const (
	posterEdge = 720
	quality    = 85
)

// Names of outputs.
const (
	posterName = "thumbnail"
	sheetName  = "storyboard"
)

// poster picks the best candidate and writes it as JPEG.
func (r run) poster(ctx context.Context) ([]pipeline.Output, error) {
	frames, err := r.candidates(ctx)
	if err != nil {
		return nil, err
	}
	best := frames[0]
	score := -1.0
	for _, file := range frames {
		img, err := imaging.Open(file)
		if err != nil {
			return nil, pipeline.Fail(pipeline.CodeVerification, "read a frame: %w", err)
		}
		if s := sharpness(img); s > score {
			best, score = file, s
		}
	}
	if err := os.Rename(best, r.file("poster.png")); err != nil {
		return nil, err
	}
	img, err := imaging.Open(r.file("poster.png"))
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeVerification, "read the poster: %w", err)
	}
	r.job.Progress(0.4, 0)
	out, err := r.save(ctx, img, pipeline.Output{
		Name: posterName, Kind: pipeline.KindPoster, Path: posterName + ".jpg",
	})
	return []pipeline.Output{out}, err
}

// webp writes the poster again as WebP, where ffmpeg can.
func (r run) webp(ctx context.Context) ([]pipeline.Output, error) {
	encoders, err := r.tools.Encoders(ctx)
	if err != nil || !encoders["libwebp"] {
		return nil, err
	}
	err = encode.Step{Tools: r.tools, Dir: r.job.Dir}.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: r.file("poster.png"), Demuxer: "png_pipe", Trusted: true}},
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

// candidates decodes one frame near each of some times around 25% of the video. Where a seek finds none, as
// in a video of one frame, the first frame is the candidate.
func (r run) candidates(ctx context.Context) ([]string, error) {
	size := picture.Fit(r.media.Video, posterEdge)
	var frames []string
	for i, share := range []float64{0.25, 0.18, 0.22, 0.30, 0.40, 0} {
		if share == 0 && len(frames) > 0 {
			break
		}
		file := r.file(fmt.Sprintf("frame-%d.png", i))
		in := picture.Source(r.input, r.media)
		in.Seek = seconds(share * r.media.Duration)
		err := encode.Step{Tools: r.tools, Dir: r.job.Dir}.Run(ctx, ffmpeg.Command{
			Inputs: []ffmpeg.Input{in},
			Filter: ffmpeg.Link([]string{picture.Stream(r.media)}, picture.Nodes(r.media.Video, size, picture.Rate{}),
				[]string{"v"}),
			Outputs: []ffmpeg.Output{{Path: file, Format: "image2", Maps: []string{"[v]"}, Options: pngs("1")}},
		})
		if err != nil && (ctx.Err() != nil || share == 0) {
			return nil, err
		}
		if info, statErr := os.Stat(file); err == nil && statErr == nil && info.Size() > 0 {
			frames = append(frames, file)
		}
	}
	if len(frames) == 0 {
		return nil, pipeline.Fail(pipeline.CodeMalformed, "no frame of the video can be decoded")
	}
	return frames, nil
}

// pngs are the options of at most n frames as PNG. With n 1 the name is taken as it is.
func pngs(n string) []ffmpeg.Option {
	o := []ffmpeg.Option{
		{Key: "c:v", Value: "png"}, {Key: "pix_fmt", Value: "rgb24"}, {Key: "frames:v", Value: n},
	}
	if n == "1" {
		o = append(o, ffmpeg.Option{Key: "update", Value: "1"},
			ffmpeg.Option{Key: "fps_mode", Value: "passthrough"})
	}
	return o
}

// Limits of sharpness.
const (
	blackLevel = 24  // mean luma, of 255, below which a picture counts as black
	compareAt  = 480 // pixels: the width at which pictures are compared
)

// sharpness is the variance of the Laplacian of a picture's luma; next to nothing for a black one, so that
// such a picture wins only when there is no other.
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

// save writes img as JPEG and publishes it.
func (r run) save(ctx context.Context, img image.Image, o pipeline.Output) (pipeline.Output, error) {
	if err := imaging.Save(img, r.file(o.Path), imaging.JPEGQuality(quality)); err != nil {
		return o, err
	}
	b := img.Bounds()
	return r.publish(ctx, picture.Size{Width: b.Dx(), Height: b.Dy()}, o)
}

// publish decodes the picture at o.Path as a whole, and stores it when it has the size that was planned.
func (r run) publish(ctx context.Context, want picture.Size, o pipeline.Output) (pipeline.Output, error) {
	f, err := os.Open(r.file(o.Path))
	if err != nil {
		return o, pipeline.Fail(pipeline.CodeVerification, "%s was not written", o.Path)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return o, pipeline.Fail(pipeline.CodeVerification, "%s does not decode: %w", o.Path, err)
	}
	if b := img.Bounds(); b.Dx() != want.Width || b.Dy() != want.Height {
		return o, pipeline.Fail(pipeline.CodeVerification, "%s is %dx%d, want %s", o.Path, b.Dx(), b.Dy(), want)
	}
	o.Width, o.Height = want.Width, want.Height
	return r.job.Publish(ctx, r.file(o.Path), o)
}

func (r run) file(name string) string { return filepath.Join(r.job.Dir, name) }

// black is what lies behind cells that have no frame.
var black = color.NRGBA{A: 255}
