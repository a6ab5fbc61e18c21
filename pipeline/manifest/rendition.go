package manifest

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// Rendition is what completed jobs have made of one rendition, without gaps from its first segment on.
type Rendition struct {
	// Output is the runs joined by pipeline.JoinRuns, with the name, kind, path and codecs of the first.
	Output pipeline.Output
	Runs   []pipeline.Output // in order, each as its job published it
	Init   pipeline.Output   // the init section; if there are several, that of the job that made the first run
	Dir    string            // below the video, such as 720p
	Track  Track             // without the segments' sizes and keys, which outputs do not have
	// Complete reports whether the last run is there, so that nothing more comes.
	Complete bool
	// Target is EXT-X-TARGETDURATION in seconds, as far as the outputs declare it in advance.
	Target int
}

// Join finds the renditions among the outputs of completed jobs and joins the runs of each: from segment 0
// up to the first missing number. A run with another Header or Codecs would not play after the others, and
// counts as missing, as does one without durations. Renditions are in the order of their first outputs, but
// those in the folder of a later step (pipeline.Job.Folder) come last. Join skips a rendition without its
// first segment or init section.
//
// If several jobs made the same segments, the runs that complete the rendition count, else those of the later
// outputs.
func Join(outputs []pipeline.Output) []Rendition {
	inits, runs := map[string][]pipeline.Output{}, map[string][]pipeline.Output{}
	var paths []string
	for _, o := range outputs {
		switch {
		case o.Kind == pipeline.KindInit:
			inits[o.Path] = append(inits[o.Path], o)
		case !isRun(o), path.Base(o.Path) != SegmentName:
		default:
			if runs[o.Path] == nil {
				paths = append(paths, o.Path)
			}
			runs[o.Path] = append(runs[o.Path], o)
		}
	}
	var all []Rendition
	for _, p := range paths {
		whole, heads := contiguous(runs[p]), inits[path.Dir(p)+"/"+InitName]
		if len(whole) > 0 && len(heads) > 0 {
			all = append(all, newRendition(whole, heads))
		}
	}
	slices.SortStableFunc(all, func(a, b Rendition) int {
		return cmp.Compare(strings.Count(a.Dir, "/"), strings.Count(b.Dir, "/"))
	})
	return all
}

// isRun reports whether o is a run of segments of a rendition.
func isRun(o pipeline.Output) bool {
	return (o.Kind == pipeline.KindRendition || o.Kind == pipeline.KindAudioRendition) && o.Segments != nil
}

// contiguous sorts runs, and returns those that follow each other from segment 0 on.
func contiguous(runs []pipeline.Output) []pipeline.Output {
	runs = slices.DeleteFunc(runs, func(r pipeline.Output) bool {
		return r.Segments.Count < 1 || len(r.Segments.Durations) != r.Segments.Count
	})
	slices.SortStableFunc(runs, func(a, b pipeline.Output) int {
		return cmp.Compare(a.Segments.First, b.Segments.First)
	})
	var whole []pipeline.Output
	for _, first := range slices.Backward(runs) {
		if first.Segments.First > 0 {
			continue
		}
		chain := follow(first, runs)
		if chain[len(chain)-1].Segments.Last {
			return chain
		}
		if whole == nil {
			whole = chain
		}
	}
	return whole
}

// follow returns first, which begins with segment 0, and the runs that play after it.
func follow(first pipeline.Output, runs []pipeline.Output) []pipeline.Output {
	whole, next := []pipeline.Output{first}, first.Segments.Count
	for i, r := range runs {
		if whole[len(whole)-1].Segments.Last {
			break
		}
		if r.Segments.First != next || !alike(r, first) {
			continue
		}
		if i+1 < len(runs) && runs[i+1].Segments.First == next && alike(runs[i+1], first) {
			continue // the later run has this number
		}
		whole, next = append(whole, r), next+r.Segments.Count
	}
	return whole
}

// alike reports whether two runs of a rendition play with one init section.
func alike(a, b pipeline.Output) bool {
	return a.Segments.Header == b.Segments.Header && a.Codecs == b.Codecs
}

// newRendition joins runs. Neither runs nor inits is empty.
func newRendition(runs, inits []pipeline.Output) Rendition {
	r := Rendition{Output: pipeline.JoinRuns(runs), Runs: runs, Dir: path.Dir(runs[0].Path)}
	r.Init = inits[len(inits)-1]
	for _, i := range inits {
		if path.Dir(i.Key) == path.Dir(runs[0].Key) {
			r.Init = i
		}
	}
	r.Track.Codecs, r.Track.Header = r.Output.Codecs, r.Output.Segments.Header
	r.Complete, r.Target = r.Output.Segments.Last, int(math.Round(r.Output.Segments.Longest))
	for _, run := range runs {
		for _, d := range run.Segments.Durations {
			r.Track.Segments = append(r.Track.Segments, Segment{Duration: d})
		}
	}
	return r
}

// bySize sorts pictures, the largest first.
func bySize(a, b Rendition) int {
	return cmp.Or(cmp.Compare(b.Output.Width*b.Output.Height, a.Output.Width*a.Output.Height),
		cmp.Compare(b.Output.Bandwidth, a.Output.Bandwidth))
}
