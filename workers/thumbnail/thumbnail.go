package thumbnail

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	_ "image/jpeg" // for publish, which decodes the written file
	"os"
	"path/filepath"
	"time"

	"github.com/disintegration/imaging"
	_ "golang.org/x/image/webp" // the same

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// Params is empty: sizes and times follow from the video.
type Params struct{}

// Worker is the worker type "thumbnail".
type Worker struct {
	tools ffmpeg.Tools
}

// New returns the worker.
func New(tools ffmpeg.Tools) *Worker { return &Worker{tools: tools} }

// Check implements workers.Checker.
func (w *Worker) Check(ctx context.Context) error {
	encoders, err := w.tools.Encoders(ctx)
	if err == nil && !encoders[frameCodec] {
		err = fmt.Errorf("ffmpeg has no %s encoder: install a full build, such as apt-get install ffmpeg",
			frameCodec)
	}
	return err
}

// part says what a job makes. It is also the part in the job's name.
type part string

const (
	posterPart     part = "poster"
	storyboardPart part = "storyboard"
)

// Plan implements workers.Worker. It plans a job of high priority for the poster, which people wait for, and
// one for the storyboard, which can wait.
func (w *Worker) Plan(_ Params, m pipeline.Media) ([]pipeline.Job, error) {
	poster, err := json.Marshal(posterPart)
	if err != nil {
		return nil, err
	}
	storyboard, err := json.Marshal(storyboardPart)
	if err != nil {
		return nil, err
	}
	return []pipeline.Job{
		{
			Name: string(posterPart), Part: poster, Priority: pipeline.High, Weight: 1,
			Timeout: 300, Scratch: posterScratch(m),
		},
		{
			Name: string(storyboardPart), Part: storyboard, Priority: pipeline.Normal, Weight: 1,
			Timeout: pipeline.Seconds(300 + m.Duration), Scratch: newBoard(m).scratch(),
		},
	}, nil
}

// Describe implements workers.Describer. Its kinds are poster, storyboard, and keyframes: a storyboard for
// which only key frames are decoded.
func (w *Worker) Describe(job pipeline.Job, m pipeline.Media) (workers.Description, error) {
	p, err := partOf(job)
	if err != nil {
		return workers.Description{}, err
	}
	d := workers.Description{Kind: string(p), End: m.Duration}
	if p == storyboardPart && keysSuffice(m.Video, newBoard(m).Interval) {
		d.Kind = "keyframes"
	}
	return d, nil
}

// partOf decodes the part of a job.
func partOf(job pipeline.Job) (p part, err error) {
	if err := json.Unmarshal(job.Part, &p); err != nil {
		return p, pipeline.Fail(pipeline.CodeParameters, "part: %w", err)
	}
	if p != posterPart && p != storyboardPart {
		return p, pipeline.Fail(pipeline.CodeParameters, "unknown part %q", p)
	}
	return p, nil
}

// Work implements workers.Worker.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	p, err := partOf(job.Task.Job)
	if err != nil {
		return pipeline.Result{}, err
	}
	input, err := job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	r := run{worker: w, job: job.Attempt, media: job.Media(), input: input}
	pictures := r.storyboard
	if p == posterPart {
		pictures = r.poster
	}
	outputs, err := pictures(ctx)
	if err != nil {
		return pipeline.Result{}, encode.Fault(ctx, err)
	}
	return pipeline.Result{Outputs: outputs}, nil
}

// run is one attempt.
type run struct {
	worker *Worker
	job    workers.Attempt
	media  pipeline.Media
	input  string
}

// quality is the quality of all JPEGs.
const quality = 85

// frameCodec is the format of the frames that ffmpeg writes: lossless, and cheap to write.
const frameCodec = "bmp"

// frameBytes returns the size of such a frame: three bytes per pixel, with rows padded to multiples of four
// bytes.
func frameBytes(s picture.Size) int64 { return int64((3*s.Width+3)/4*4*s.Height) + 128 }

// frames returns an output of at most n frames. With n = 1 the name has no number.
func frames(file, label string, n int, more ...ffmpeg.Option) ffmpeg.Output {
	o := []ffmpeg.Option{
		{Key: "c:v", Value: frameCodec}, {Key: "pix_fmt", Value: "bgr24"}, {Key: "frames:v", Value: fmt.Sprint(n)},
	}
	if n == 1 {
		o = append(o, ffmpeg.Option{Key: "update", Value: "1"},
			ffmpeg.Option{Key: "fps_mode", Value: "passthrough"})
	}
	return ffmpeg.Output{Path: file, Format: "image2", Maps: []string{label}, Options: append(o, more...)}
}

// step runs c. Only the storyboard yields to others on the machine.
func (r run) step(ctx context.Context, c ffmpeg.Command) error {
	return encode.Step{
		Tools: r.worker.tools, Dir: r.job.Dir, Duration: r.media.Duration, Nice: r.job.Nice(), Work: r.work(),
	}.Run(ctx, c)
}

// work returns the most that a run has to do: it decodes all frames.
func (r run) work() encode.Work { return encode.Decoding(r.media, r.media.Duration, 0) }

// save writes img as JPEG and publishes it.
func (r run) save(ctx context.Context, img image.Image, o pipeline.Output) (pipeline.Output, error) {
	if err := imaging.Save(img, r.file(o.Path), imaging.JPEGQuality(quality)); err != nil {
		return o, err
	}
	b := img.Bounds()
	return r.publish(ctx, picture.Size{Width: b.Dx(), Height: b.Dy()}, o)
}

// publish decodes the whole image at o.Path, and stores it if it has the planned size.
func (r run) publish(ctx context.Context, want picture.Size, o pipeline.Output) (pipeline.Output, error) {
	f, err := os.Open(r.file(o.Path))
	if err != nil {
		return o, pipeline.Fail(pipeline.CodeVerification, "%s was not written", o.Path)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return o, pipeline.Fail(pipeline.CodeVerification, "%s cannot be decoded: %w", o.Path, err)
	}
	if b := img.Bounds(); b.Dx() != want.Width || b.Dy() != want.Height {
		return o, pipeline.Fail(pipeline.CodeVerification, "%s is %dx%d, want %s", o.Path, b.Dx(), b.Dy(), want)
	}
	o.Width, o.Height = want.Width, want.Height
	return r.job.Publish(ctx, r.file(o.Path), o)
}

func (r run) file(name string) string { return filepath.Join(r.job.Dir, name) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
