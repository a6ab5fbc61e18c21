package transcode

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/picture"
)

// part is what Plan tells Work about one job. Frames are counted on the grid of Rate.
type part struct {
	Kind kind `json:"kind"`
	// Rungs are the rungs that the job makes, largest first.
	Rungs []rung `json:"rungs"`

	// Encoded says, in the first job only, why the top rung is not a copy of the source. Empty: it is a copy.
	Encoded string `json:"encoded,omitempty"`

	// Of a chunk, or a part of the copied rung:
	Rate  picture.Rate `json:"rate,omitzero"` // of the grid
	Size  picture.Size `json:"size,omitzero"` // of the frames that all rungs are scaled from, in all chunks
	Start int          `json:"start,omitempty"`
	End   int          `json:"end,omitempty"`  // 0: the end of the video
	Seek  bool         `json:"seek,omitempty"` // decoding may begin near Start
	Key   float64      `json:"key,omitempty"`  // seconds: of the keyframe at Start; 0: begin some time before
	// Borders are the frames at which the segments begin; the first segment has number First. Segments of the
	// copied rung begin there, too. Empty: each segment has segmentFrames frames.
	Borders []int `json:"borders,omitempty"`
	First   int   `json:"first,omitempty"`
	// Delay is how many frames, at its own rate, a rung is shown after it is decoded. Its edit list undoes the
	// delay. 0: no delay and no edit list, as in plans of earlier versions.
	Delay int `json:"delay,omitempty"`
	// Longest is the length of the video's longest segment, in seconds, if segments begin at borders.
	Longest float64 `json:"longest,omitempty"`
}

// names returns the names of the rungs, which are the folders of their renditions.
func (p part) names() []string {
	names := make([]string, len(p.Rungs))
	for i, r := range p.Rungs {
		names[i] = r.Name
	}
	return names
}

// kind is what a job does.
type kind string

const (
	chunkKind   kind = "chunk"
	copyKind    kind = "copy"
	fileKind    kind = "file"
	packageKind kind = "package" // in plans of earlier versions: see Moved
)

// Names of jobs; others are 0000, 0001, ..., copy-0001, ... and mp4-720p.
const (
	firstJob = "first"
	copyJob  = "copy"
)

// Kinds of outputs that jobs declare to make or to need.
var (
	renditions      = []pipeline.OutputKind{pipeline.KindRendition}
	audioRenditions = []pipeline.OutputKind{pipeline.KindAudioRendition}
)

// notCopied begins the note that says why the top rung is encoded.
const notCopied = "the top rung is not a copy of the source: "

// segmentFrames returns how many frames a segment has at rate r.
func segmentFrames(r picture.Rate) int {
	return manifest.SegmentSeconds / manifest.FragmentSeconds * r.Frames(picture.KeyframeSeconds)
}

// planner makes the jobs of one video.
type planner struct {
	params  Params
	media   pipeline.Media
	copied  []rung // the top rung if it is copied, or empty
	encoded string // why it is not copied
	rungs   []rung // to encode, largest first
	per     int    // segments in a chunk; 0: by how much work they are
	jobs    []pipeline.Job
	err     error
}

func newPlanner(p Params, m pipeline.Media) *planner {
	l := &planner{params: p, media: m, rungs: ladder(m.Video, p.Quality, p.Ladder)}
	if l.encoded = standard(p, m, l.rungs[0]); l.encoded == "" {
		top := l.rungs[0]
		top.Size = picture.Size{Width: m.Video.CodedWidth, Height: m.Video.CodedHeight}
		l.copied, l.rungs = []rung{top}, l.rungs[1:]
	}
	return l
}

// plan returns the jobs in the order in which they should begin.
func (l *planner) plan() ([]pipeline.Job, error) {
	l.cap()
	if len(l.copied) > 0 {
		l.copies()
	}
	if len(l.rungs) > 0 {
		l.chunks()
	}
	var after []string
	for _, j := range l.jobs {
		after = append(after, j.Name)
	}
	all := append(l.copied[:len(l.copied):len(l.copied)], l.rungs...)
	for _, r := range l.params.files(all) {
		l.add("mp4-"+r.Name, part{Kind: fileKind, Rungs: []rung{r}}, pipeline.Job{
			After: after, Needs: audioRenditions, Weight: 2,
			Scratch: 3 * max(l.media.Size, l.scratch(l.media.Duration, []rung{r})),
		})
	}
	return l.jobs, l.err
}

// cap limits the rates of the rungs by the bits of the source and the number of encoders that each rung
// needs.
func (l *planner) cap() {
	l.copied = capped(l.media, l.copied, 1+l.media.Duration/firstCopied) // in case it must be encoded
	if len(l.rungs) == 0 {
		return
	}
	rate := l.rungs[0].Rate
	segment := float64(segmentFrames(rate)) / rate.Float()
	_, encoders := l.division(segment, len(l.borders(rate)))
	if l.early(segment) {
		encoders++
	}
	l.rungs = capped(l.media, l.rungs, float64(encoders))
}

// early reports whether the lowest rung of the first segment is a job of its own. It is not if a copied rung
// plays first, or if the video is hardly longer than a segment.
func (l *planner) early(segment float64) bool {
	return len(l.copied) == 0 && l.media.Duration > 1.5*segment
}

// The division of a copied rung: copying takes little time, and playback waits for the first part.
const (
	firstCopied = 60 // seconds, about
	copiedChunk = 20 // segments: two minutes, which do not take long if they must be encoded
)

// copies plans the copied rung. It should be complete soon, since viewers can only seek within finished
// parts. Each later part waits for the first, which decides whether to copy, and for the part before it. So
// openers of other videos can run between two parts.
func (l *planner) copies() {
	rate, video := l.copied[0].Rate, l.media.Duration
	base := part{
		Kind: copyKind, Rungs: l.copied, Rate: rate, Size: l.copied[0].Size, Longest: l.longest(),
		Delay: picture.Reordered,
	}
	borders := l.borders(rate)
	to, before := 1, ""
	for to < len(borders) && float64(borders[to])/rate.Float() < firstCopied {
		to++
	}
	for from, n := 0, 0; from < len(borders); n++ {
		if len(borders)-to <= copiedChunk/2 || !picture.Seekable(l.media) || from > 0 && l.remuxed() {
			to = len(borders)
		}
		p := base.of(from, to, borders)
		seconds := video - float64(p.Start)/rate.Float()
		if p.End > 0 {
			seconds = float64(p.End-p.Start) / rate.Float()
		}
		name, job := copyJob, pipeline.Job{Priority: pipeline.High, Opener: true}
		if from > 0 {
			p.Seek, p.Key = true, l.key(p.Start, rate)
			name = fmt.Sprintf("%s-%04d", copyJob, n)
			job = pipeline.Job{Priority: pipeline.High, After: slices.Compact([]string{copyJob, before})}
		}
		job.Weight, job.Timeout = 1, timeout(seconds)
		job.Scratch = max(l.copyScratch(seconds), l.scratch(seconds, l.copied))
		l.add(name, p, job)
		from, to, before = to, min(to+copiedChunk, len(borders)), name
	}
}

// remuxed reports whether each part of the copied rung must remux the whole source. Then there are at most
// two parts.
func (l *planner) remuxed() bool { return l.media.Video.Groups.Remuxed }

// copyScratch returns how many bytes of scratch space a part of the copied rung takes: the remuxed file and
// the segments cut from it, both twice, since a part may have more bits/s than the average.
func (l *planner) copyScratch(seconds float64) int64 {
	size := int64(4 * float64(l.media.Size) * min(1, (seconds+sampled*longestGroup)/l.media.Duration))
	if l.remuxed() {
		size += l.media.Size
	}
	return size
}

// chunks plans the encoding. The job "first" comes before all others.
func (l *planner) chunks() {
	best, lowest := l.rungs[0], l.rungs[len(l.rungs)-1]
	base := part{
		Kind: chunkKind, Rate: best.Rate, Size: best.Size, Rungs: l.rungs, Longest: l.longest(),
		Delay: picture.Reordered,
	}
	borders, frames := l.borders(best.Rate), segmentFrames(best.Rate)
	segment := float64(frames) / best.Rate.Float()
	opening, early := len(l.copied) == 0, l.early(segment)
	if early {
		first := base
		first.Rungs, first.End = []rung{lowest}, frames
		job := pipeline.Job{Priority: pipeline.High, Opener: true}
		l.add(firstJob, first, l.chunkJob(segment, first.Rungs, job))
	}
	per, count := l.division(segment, len(borders))
	for i := range count {
		last := i == count-1
		to := (i + 1) * per
		if last && borders != nil {
			to = len(borders)
		}
		p := base.of(i*per, to, borders)
		length := float64(p.End-p.Start) / p.Rate.Float()
		if last {
			p.End, length = 0, l.media.Duration-float64(p.Start)/p.Rate.Float()
		}
		if p.Seek = i > 0; p.Seek {
			p.Key = l.key(p.Start, p.Rate)
		}
		if i == 0 && early {
			p.Rungs = l.rungs[: len(l.rungs)-1 : len(l.rungs)-1]
			if lowest.Skip = frames; p.End != frames { // otherwise "first" makes all of it
				p.Rungs = append(p.Rungs, lowest)
			}
		}
		if len(p.Rungs) == 0 {
			continue
		}
		l.add(fmt.Sprintf("%04d", i), p, l.chunkJob(length, l.rungs, pipeline.Job{Opener: opening && !early}))
	}
}

// of returns the chunk of the segments [from, to), which begin at borders. borders is nil if all segments
// have the same number of frames.
func (p part) of(from, to int, borders []int) part {
	if borders == nil {
		p.Start, p.End = from*segmentFrames(p.Rate), to*segmentFrames(p.Rate)
		return p
	}
	p.First, p.Borders, p.Start = from, borders[from:to], borders[from]
	if to < len(borders) {
		p.End = borders[to]
	}
	return p
}

// Sizes of a chunk, in seconds of one core's work. Even a short video has enough chunks for several machines.
// No chunk is so small that starting, and decoding up to its first frame, takes a large share of its time.
const (
	leastWork = 10
	mostWork  = 20
	someCores = 4
	maxChunks = 9999
)

// borders returns the frames, at rate r, at which segments of the copied rung begin; nil without a copied
// rung.
func (l *planner) borders(r picture.Rate) []int {
	if len(l.copied) == 0 {
		return nil
	}
	var frames []int
	for _, at := range l.media.Video.Groups.Borders {
		frames = append(frames, int(math.Round(at*r.Float())))
	}
	return frames
}

// longest returns the length of the longest segment between borders, in seconds; 0 without a copied rung.
func (l *planner) longest() float64 {
	if len(l.copied) == 0 {
		return 0
	}
	return longestSegment(l.media.Video.Groups.Borders, l.media.Duration)
}

// key returns the time of the keyframe shown at frame number start, at rate r, if decoding can begin there; 0
// if no such keyframe is known.
func (l *planner) key(start int, r picture.Rate) float64 {
	v := l.media.Video
	if v.Groups == nil || v.Interlaced {
		return 0
	}
	at := float64(start) / r.Float()
	i, _ := slices.BinarySearch(v.Groups.Borders, at-0.25/r.Float())
	if i == len(v.Groups.Borders) || v.Groups.Borders[i]-at > 0.25/r.Float() {
		return 0
	}
	return v.Groups.Borders[i]
}

// division returns the number of segments in a chunk, and the number of chunks. segment is the length of a
// segment in seconds; if segments differ in length, known is their number, else 0. The last chunk is 0.5 to
// 1.5 times as long as the others, so that it is not empty if the video ends a little before its measured
// end.
func (l *planner) division(segment float64, known int) (per, count int) {
	if !picture.Seekable(l.media) {
		return 1, 1
	}
	segments := l.media.Duration / segment
	if known > 0 {
		segments, segment = float64(known), l.media.Duration/float64(known)
	}
	per = l.per
	if per == 0 {
		work := l.work(segment, l.rungs)
		size := min(max(segments*work/someCores, leastWork), mostWork)
		per = max(1, int(math.Round(size/work)), int(math.Ceil(segments/maxChunks)))
	}
	return per, max(1, int(segments/float64(per)+0.5))
}

// work estimates how many seconds one core takes to encode that many seconds of the rungs: their pixels at
// x264's measured speed.
func (l *planner) work(seconds float64, rungs []rung) float64 {
	rate := 40e6 // pixels/s of veryfast
	switch l.params.Quality {
	case picture.Plus:
		rate = 12e6
	case picture.Premium:
		rate = 6e6
	}
	pixels := 0.0
	for _, r := range rungs {
		pixels += float64(r.Size.Width*r.Size.Height) * r.Rate.Float()
	}
	return seconds * pixels / rate
}

func (l *planner) chunkJob(seconds float64, rungs []rung, j pipeline.Job) pipeline.Job {
	j.Weight = 1 + int(l.work(seconds, rungs))
	j.Scratch, j.Timeout = l.scratch(seconds, rungs), timeout(seconds)
	return j
}

// A chunk may take timeoutBase seconds, and timeoutFactor seconds for each second of video: slow presets on a
// busy machine need tens of seconds for a second of 4K.
const (
	timeoutBase   = 600
	timeoutFactor = 60
)

func timeout(seconds float64) pipeline.Seconds {
	return pipeline.Seconds(timeoutBase + timeoutFactor*seconds)
}

// scratch returns how many bytes of scratch space a chunk takes: for some time both ffmpeg's files and the
// segments cut from them exist. Each is expected to have half the bits that the rungs' steps allow, but at
// most all that Maxrate allows.
func (l *planner) scratch(seconds float64, rungs []rung) int64 {
	bits := 0.0 // thousands
	for _, r := range rungs {
		bits += min(seconds*float64(r.ceiling), 2*(seconds+picture.KeyframeSeconds)*float64(r.Maxrate))
	}
	return int64(bits * 1000 / 8)
}

// add plans a job. The first one says why nothing is copied.
func (l *planner) add(name string, p part, j pipeline.Job) {
	if len(l.jobs) == 0 && l.encoded != "" {
		p.Encoded, j.Note = l.encoded, notCopied+l.encoded
	}
	raw, err := json.Marshal(p)
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("encode part of %s: %w", name, err)
	}
	j.Name, j.Part = name, raw
	if p.Kind != fileKind {
		j.Makes, j.Renditions = renditions, p.names()
	}
	l.jobs = append(l.jobs, j)
}
