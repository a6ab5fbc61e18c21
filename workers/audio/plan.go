package audio

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers/internal/audiotrack"
)

// maxTracks is how many audio tracks become renditions.
const maxTracks = 8

// What a job does.
const (
	taskCopy   = "copy"   // copy a run of segments
	taskEncode = "encode" // encode a run of segments
	taskFile   = "file"   // make audio.m4a from the segments of the earlier jobs
)

// part is what Plan tells Work about one job.
type part struct {
	Task     string `json:"task"`
	Stream   int    `json:"stream"` // ffmpeg's stream index
	Name     string `json:"name"`   // the rendition's folder, such as audio-eng
	Language string `json:"language"`
	File     bool   `json:"file,omitempty"`   // make audio.m4a, too
	Reason   string `json:"reason,omitempty"` // why the track is not copied

	First int  `json:"first,omitempty"` // number of the first segment
	End   int  `json:"end,omitempty"`   // number after the last; 0: all to the end of the track
	Seek  bool `json:"seek,omitempty"`  // the source can be read from the middle
}

// entire reports whether the part is the whole track.
func (p part) entire() bool { return p.First == 0 && p.End == 0 }

// layout is how tracks are divided into jobs.
type layout struct {
	whole float64 // seconds; a track of at most this length is one job
	chunk int     // segments; a multiple of 4, so that chunks begin at whole seconds
}

// standard has chunks of 4 minutes, which take some seconds to encode.
var standard = layout{whole: 30, chunk: 40}

// first returns how many segments of a track playback waits for. For a copy they are more, since copying is
// fast.
func (l layout) first(t track) int {
	if t.Task == taskCopy {
		return max(1, l.chunk/4)
	}
	return 1
}

// borders returns the numbers of the segments at which the chunks after "first" begin. The last chunk has at
// least half the usual length, unless it is the only one.
func (l layout) borders(t track) []int {
	all := []int{l.first(t)}
	for b := l.chunk; t.segments()-b >= l.chunk/2; b += l.chunk {
		all = append(all, b)
	}
	return all
}

// whole reports whether the track is one job: it is short, or a second job would have little to copy.
func (t track) whole(l layout) bool {
	return t.seconds <= l.whole || t.Task == taskCopy && 2*t.segments() <= 3*l.first(t)
}

// segments estimates the number of segments in the track.
func (t track) segments() int { return int(math.Ceil(t.seconds / manifest.SegmentSeconds)) }

// track is one audio track that becomes a rendition.
type track struct {
	part
	main    bool    // audio.m4a is made of it
	seconds float64 // from time 0 to the end of the video
}

var languageCode = regexp.MustCompile(`^[a-z]{2,3}$`)

// tracks returns the first maxTracks tracks, the default one first, named by language.
func tracks(m pipeline.Media, copies bool) []track {
	ordered := slices.Clone(m.Audio)
	if i := slices.IndexFunc(ordered, func(a pipeline.AudioTrack) bool { return a.Default }); i > 0 {
		first := ordered[i]
		ordered = slices.Insert(slices.Delete(ordered, i, i+1), 0, first)
	}
	var all []track
	taken := map[string]int{}
	for i, a := range ordered[:min(len(ordered), maxTracks)] {
		t := track{main: i == 0, seconds: length(m, a)}
		t.Stream, t.Language, t.Seek = a.Stream, a.Language, seekable(m, a)
		if !languageCode.MatchString(t.Language) {
			t.Language = "und"
		}
		t.Name = "audio-" + t.Language
		if taken[t.Language]++; taken[t.Language] > 1 {
			t.Name = fmt.Sprintf("%s-%d", t.Name, taken[t.Language])
		}
		t.Task, t.Reason = taskEncode, "copying is switched off"
		if copies {
			t.Reason = copyable(m, a)
		}
		if t.Reason == "" {
			t.Task = taskCopy
		}
		all = append(all, t)
	}
	return all
}

// note says why track number i is encoded; empty if it is copied. If all tracks have the same reason, only
// the first one says it, for all.
func note(all []track, i int) string {
	t := all[i]
	differs := func(other track) bool { return other.Reason != t.Reason }
	switch {
	case t.Reason == "":
		return ""
	case slices.ContainsFunc(all, differs):
		return notCopied(t.Name, t.Reason)
	case i == 0:
		return notCopied("", t.Reason)
	}
	return ""
}

// notCopied returns the note that says why the named rendition is encoded, or all audio if name is empty.
func notCopied(name, reason string) string {
	what := "audio"
	if name != "" {
		what = "rendition " + name
	}
	return fmt.Sprintf("the %s is not a copy of the source: %s", what, reason)
}

// length returns the end of the video in seconds from time 0, or the end of a if that is later, as in plans
// of earlier versions.
func length(m pipeline.Media, a pipeline.AudioTrack) float64 {
	return max(m.Duration, a.Start-m.Origin()+a.Duration)
}

// seekable reports whether reading can begin in the middle of the track: its container has an index and
// times.
func seekable(m pipeline.Media, a pipeline.AudioTrack) bool {
	return (m.Container == "mov" || m.Container == "matroska") && !m.Damaged && a.Duration > 0 &&
		!audiotrack.Packed(m.Container, a.Codec)
}

// jobs returns the jobs of track number i.
func (t track) jobs(i int, l layout) ([]pipeline.Job, error) {
	if t.whole(l) {
		p := t.part
		p.File = t.main && t.seconds <= l.whole
		all := []planned{t.job(fmt.Sprint(i), p, t.seconds, pipeline.High)}
		if t.main && !p.File {
			all = append(all, t.file(i, all))
		}
		return t.list(all...)
	}
	first := t.part
	first.End = l.first(t)
	all := []planned{
		t.job(fmt.Sprintf("%d-first", i), first, float64(first.End*manifest.SegmentSeconds), pipeline.High),
	}
	starts := []int{first.End}
	if t.Seek {
		starts = l.borders(t)
	}
	for n, start := range starts {
		p := t.part
		p.First = start
		seconds := t.seconds - float64(start*manifest.SegmentSeconds)
		if n+1 < len(starts) {
			p.End = starts[n+1]
			seconds = float64((p.End - start) * manifest.SegmentSeconds)
		}
		all = append(all, t.job(fmt.Sprintf("%d-%04d", i, n), p, seconds, pipeline.Normal))
	}
	if t.main {
		all = append(all, t.file(i, all))
	}
	return t.list(all...)
}

// file returns the job that makes audio.m4a from the segments of the jobs before it. Playback does not wait
// for it.
func (t track) file(i int, before []planned) planned {
	p := t.part
	p.Task = taskFile
	file := t.job(fmt.Sprintf("%d-file", i), p, t.seconds, pipeline.Normal)
	for _, b := range before {
		file.After = append(file.After, b.Name)
	}
	file.Weight, file.Makes, file.Renditions = 1, nil, nil
	return file
}

// planned is a job whose part is not yet encoded.
type planned struct {
	pipeline.Job
	part part
}

// scratchRate is the most bytes of scratch space per second of audio: three files of the highest rate that is
// copied, which is more than twice the encoder's.
const scratchRate = 3 * maxCopied / 8

// job returns a job that makes that many seconds of output. A job of high priority is an opener.
func (t track) job(name string, p part, seconds float64, priority pipeline.Priority) planned {
	seconds = max(0, seconds)
	return planned{pipeline.Job{
		Name: name, Priority: priority, Opener: priority == pipeline.High,
		Weight: 1 + int(seconds/60),
		Makes:  []pipeline.OutputKind{pipeline.KindAudioRendition}, Renditions: []string{p.Name},
		// If seeking fails, the job decodes from the start of the track.
		Timeout: pipeline.Seconds(math.Ceil(300 + 2*seconds + t.seconds/4)),
		Scratch: 4<<20 + int64(seconds)*scratchRate,
	}, p}
}

func (t track) list(all ...planned) ([]pipeline.Job, error) {
	jobs := make([]pipeline.Job, len(all))
	for i, p := range all {
		raw, err := json.Marshal(p.part)
		if err != nil {
			return nil, fmt.Errorf("encode part: %w", err)
		}
		jobs[i] = p.Job
		jobs[i].Part = raw
	}
	return jobs, nil
}
