package transcode

import (
	"context"
	"errors"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/hls"
	"github.com/reelmill/reelmill/workers/internal/picture"
	"github.com/reelmill/reelmill/workers/internal/sampletable"
)

// copyRun is one attempt at a part of the copied rung: the source's own frames in new boxes. The job of the
// first part verifies the whole track and decides for all parts: a rendition has one header, so all of it is
// copied or all of it is encoded.
type copyRun struct {
	tools   ffmpeg.Tools
	job     workers.Attempt
	quality string
	part    part
	rung    rung
}

// Facts of the first job tell the owner of the video whether the top rung is a copy.
const (
	factCopied = "copied"
	factReason = "reason" // why it is not a copy
)

// run copies the part. If inspection took the source for standard input, but its copy does not verify, the
// jobs that were to copy it encode it.
func (c copyRun) run(ctx context.Context) (pipeline.Result, error) {
	if c.part.First > 0 && !c.decided() {
		return c.encode(ctx)
	}
	made, err := c.copy(ctx)
	if err == nil {
		result, err := publish(ctx, c.job, []run{made})
		result.Decision, result.Facts = c.decision(true), c.facts(nil)
		return result, encode.Fault(ctx, err)
	}
	if err = encode.Fault(ctx, err); c.part.First > 0 || !unlike(ctx, err) {
		return pipeline.Result{}, err
	}
	c.job.Log.Warn("encode what could not be copied", "reason", err)
	for _, name := range []string{c.dir(), c.file(), c.sample(), c.remuxed()} {
		if err := os.RemoveAll(name); err != nil {
			return pipeline.Result{}, err
		}
	}
	result, encodeErr := c.encode(ctx)
	result.Decision, result.Facts = c.decision(false), c.facts(err)
	return result, encodeErr
}

// decision tells the other parts what the first part's job decided.
func (c copyRun) decision(copied bool) *pipeline.Decision {
	if c.part.First > 0 {
		return nil
	}
	return &pipeline.Decision{Copied: copied}
}

// decided reports whether the first part was copied. Its job is the one with a decision and with segments in
// the folder of this rung: another step's rung of the same name is in another folder. Results of earlier
// versions have the decision only among their facts.
func (c copyRun) decided() bool {
	folder := path.Join(c.job.Task.Job.Folder, c.rung.Name)
	for _, r := range c.job.Results {
		made := slices.ContainsFunc(r.Outputs, func(o pipeline.Output) bool {
			return o.Kind == pipeline.KindRendition && path.Dir(o.Path) == folder
		})
		copied, told := r.Facts[factCopied].(bool)
		switch {
		case !made:
		case r.Decision != nil:
			return r.Decision.Copied
		case told:
			return copied
		}
	}
	return false
}

// facts tells the owner what was decided, and why.
func (c copyRun) facts(err error) map[string]any {
	switch {
	case c.part.First > 0:
		return nil
	case err != nil:
		reason := err.Error()
		return map[string]any{factCopied: false, factReason: reason, pipeline.FactNote: notCopied + reason}
	}
	return map[string]any{factCopied: true}
}

// encode encodes the part as a chunk.
func (c copyRun) encode(ctx context.Context) (pipeline.Result, error) {
	chunk := c.part
	chunk.Kind = chunkKind
	return chunkRun{tools: c.tools, job: c.job, quality: c.quality, part: chunk}.run(ctx)
}

// misfit marks err as a sign that the source is not standard input (see unlike), unless err is a disk fault.
func misfit(ctx context.Context, err error) error {
	if fault := encode.DiskFault(ctx, err); fault != nil {
		return fault
	}
	return unfit("%w", err)
}

// unlike reports whether err shows that the source is not standard input: its copy is wrong, or ffmpeg fails
// or crashes on it. A full disk, a store that is down and a canceled run do not show it.
func unlike(ctx context.Context, err error) bool {
	var coded *pipeline.Error
	if ctx.Err() != nil || !errors.As(err, &coded) {
		return false
	}
	switch coded.Code {
	case pipeline.CodeVerification, pipeline.CodeMalformed, pipeline.CodeEncodeFailed,
		pipeline.CodeEncoderCrashed:
		return true
	}
	return false
}

func (c copyRun) dir() string     { return filepath.Join(c.job.Dir, c.rung.Name) }
func (c copyRun) file() string    { return encodedFile(c.job.Dir, c.rung) }
func (c copyRun) sample() string  { return filepath.Join(c.job.Dir, "sample.mp4") }
func (c copyRun) remuxed() string { return filepath.Join(c.job.Dir, "remuxed.mp4") }

// copy makes the part of the rendition. The job of the first part also verifies the whole track.
func (c copyRun) copy(ctx context.Context) (run, error) {
	made := run{
		rung: c.rung, file: c.file(), dir: c.dir(), last: c.part.End == 0, longest: c.part.Longest,
	}
	source, id, err := c.open(ctx)
	if err != nil {
		return made, err
	}
	defer source.Close() // read only
	pictures, err := c.pictures(ctx, source, id)
	if err != nil {
		return made, err
	}
	from, to := c.groups(pictures)
	if from >= to {
		return made, unfit("no group of pictures begins in frames %d to %d", c.part.Start, c.part.End)
	}
	if err := remux(ctx, made.file, pictures, c.matrix(), [2]int{from, to}); err != nil {
		return made, err
	}
	if err := os.Mkdir(made.dir, 0o700); err != nil {
		return made, err
	}
	made.track, err = hls.Cut(ctx, made.file, made.dir, hls.Options{
		First: c.part.First, Start: uint64(pictures.Starts[from]), Borders: seconds(c.part.Borders, c.part.Rate),
		Near: 0.5 / c.part.Rate.Float(),
	})
	if err != nil {
		return made, misfit(ctx, err)
	}
	c.job.Progress(encoded, 0)
	if c.part.First == 0 {
		if err := c.verify(ctx, pictures, made.track); err != nil {
			return made, err
		}
	}
	return made, os.Remove(made.file)
}

// open opens the source, or a remuxed file if the source has no index, and returns the id of the video track
// in the opened file.
func (c copyRun) open(ctx context.Context) (*os.File, int64, error) {
	input, err := c.job.Input(ctx)
	if err != nil {
		return nil, 0, err
	}
	m := c.job.Media()
	if m.Video.Groups == nil || !m.Video.Groups.Remuxed {
		file, err := os.Open(input)
		return file, m.Video.ID, err
	}
	step := encode.Step{Tools: c.tools, Dir: c.job.Dir, Nice: c.job.Nice()}
	if err := step.Run(ctx, picture.Remux(input, m, c.remuxed())); err != nil {
		return nil, 0, err
	}
	file, err := os.Open(c.remuxed())
	return file, 1, err
}

// pictures returns the frames of track id in the file. It fails unless they end where inspection found the
// end of the track. The last frame is shown until the end of the video.
func (c copyRun) pictures(ctx context.Context, file *os.File, id int64) (*sampletable.Pictures, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	table, err := sampletable.Read(file, info.Size())
	if err != nil {
		return nil, misfit(ctx, err)
	}
	m := c.job.Media()
	pictures, err := table.Pictures(ctx, id, picture.Lead(m))
	if err != nil {
		return nil, misfit(ctx, err)
	}
	ticks := float64(pictures.Timescale)
	if err := ends(m, c.rung, float64(pictures.End)/ticks); err != nil {
		return nil, err
	}
	if end := m.Duration * ticks; end-float64(pictures.End) > 0.5*ticks/c.part.Rate.Float() {
		pictures.End = int64(math.Round(end))
	}
	return pictures, nil
}

// matrix returns the source's colour matrix, the same that encoded rungs are converted from.
func (c copyRun) matrix() byte {
	if picture.Matrix(c.job.Media().Video) == "bt709" {
		return bt709
	}
	return bt601
}

// groups returns the numbers of the part's first group, and of the first group after the part. A group begins
// near its frame of the grid; hls.Cut checks that for each one that begins a segment.
func (c copyRun) groups(p *sampletable.Pictures) (from, to int) {
	number := func(frame int) int {
		at := (float64(frame) - 0.5) / c.part.Rate.Float() * float64(p.Timescale)
		n, _ := slices.BinarySearch(p.Starts, int64(at))
		return n
	}
	from, to = number(c.part.Start), len(p.Starts)
	if c.part.End > 0 {
		to = number(c.part.End)
	}
	return from, to
}

// verify decodes samples from the whole rendition; track gives their form.
func (c copyRun) verify(ctx context.Context, pictures *sampletable.Pictures, track manifest.Track) error {
	ranges := samples(pictures)
	if err := remux(ctx, c.sample(), pictures, c.matrix(), ranges...); err != nil {
		return err
	}
	head, err := headFrames(ctx, pictures, ranges[0])
	if err != nil {
		return err
	}
	track.Segments = nil
	for _, r := range ranges {
		ticks := pictures.End
		if r[1] < len(pictures.Starts) {
			ticks = pictures.Starts[r[1]]
		}
		track.Segments = append(track.Segments, manifest.Segment{
			Duration: float64(ticks-pictures.Starts[r[0]]) / float64(pictures.Timescale),
			Keys:     make([]manifest.Key, r[1]-r[0]),
		})
	}
	return verify(ctx, c.tools, c.job, []run{{rung: c.rung, track: track, file: c.sample(), head: head}})
}

// headFrames counts the frames that are shown in the first second of a range of groups. They may be fewer
// than the rate says.
func headFrames(ctx context.Context, p *sampletable.Pictures, groups [2]int) (n int, err error) {
	end := p.Starts[groups[0]] + ffmpeg.HeadSeconds*int64(p.Timescale)
	err = p.Each(ctx, groups[0], groups[1], func(g sampletable.Group) error {
		decoded := g.Start
		for _, one := range g.Pictures {
			if decoded+int64(one.Shift)-p.Delay < end {
				n++
			}
			decoded += int64(one.Length)
		}
		return nil
	})
	return n, err
}

// sampled is how many places of a copy are decoded. A few are enough: inspection has checked the source's own
// frames, and if the new boxes around them are wrong, they are wrong everywhere.
const sampled = 4

// samples returns the ranges of groups to decode: at each place as many groups as last a second, at least
// one. The places are evenly spread from the first group to the last. Verifying a long copy takes no longer
// than a short one.
func samples(p *sampletable.Pictures) (ranges [][2]int) {
	last, next := len(p.Starts)-1, 0
	for i := range sampled {
		from := max(next, i*last/(sampled-1))
		for next = from; next <= last && (next == from || p.Starts[next]-p.Starts[from] < int64(p.Timescale)); {
			next++
		}
		if from < next {
			ranges = append(ranges, [2]int{from, next})
		}
	}
	return ranges
}
