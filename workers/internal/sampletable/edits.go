package sampletable

import (
	"math"

	"github.com/reelmill/reelmill/pipeline"
)

// What a simple edit list may hide.
const (
	maxPriming = 4096 // audio samples: AAC primes with 1024 to 2112, HE-AAC with more
	maxCut     = 0.04 // seconds at the end
	maxDelay   = 1    // seconds: of reordered frames
)

// Edits classifies the edit list of a track (8.6.6). sampleRate is in samples/s for audio, and 0 for video.
//
// An edit list is simple if it has one edit at normal speed, after at most one empty edit, that hides little:
// at the start nothing of video and at most maxPriming samples of audio; at the end at most maxCut, or one
// packet of audio. A list that cannot be judged is complex: that of fragmented audio, or of tables that
// contradict each other. Fragmented video is not read; there a list is simple if it hides at most maxDelay,
// the delay of reordered frames, and has no end.
func (f *File) Edits(id int64, sampleRate int) (pipeline.Edits, error) {
	t, err := f.find(id)
	if err != nil || t.edits == nil || len(t.edits.Entries) == 0 {
		return "", err
	}
	entries := t.edits.Entries
	if entries[0].MediaTime == -1 {
		entries = entries[1:]
	}
	if len(entries) != 1 || f.Fragmented && sampleRate > 0 || f.timescale == 0 {
		return pipeline.EditsComplex, nil
	}
	edit := entries[0]
	if edit.MediaTime < 0 || edit.MediaRateInteger != 1 || edit.MediaRateFraction != 0 {
		return pipeline.EditsComplex, nil
	}
	if f.Fragmented {
		if edit.SegmentDuration > 0 || edit.MediaTime > maxDelay*t.timescale() {
			return pipeline.EditsComplex, nil
		}
		return pipeline.EditsSimple, nil
	}
	s, err := t.span(sampleRate == 0)
	if err != nil {
		return pipeline.EditsComplex, nil //nolint:nilerr // cannot be judged, so complex
	}
	scale := float64(t.timescale())
	hidden, cut := 1.0, math.Ceil(maxCut*scale)
	if sampleRate > 0 {
		hidden = maxPriming * scale / float64(sampleRate)
		cut = max(cut, min(hidden, float64(s.longest)))
	}
	ticks := float64(edit.SegmentDuration) / float64(f.timescale) * scale
	rounding := scale / float64(f.timescale)
	start := float64(edit.MediaTime)
	if start-float64(s.first) > hidden || float64(s.end)-(start+ticks) > cut+rounding {
		return pipeline.EditsComplex, nil
	}
	return pipeline.EditsSimple, nil
}

// span is when a track is shown, in ticks, and its longest sample.
type span struct{ first, end, longest int64 }

// span measures video sample by sample. Audio plays in decoding order, and may have very many samples, so the
// tables suffice.
func (t *track) span(picture bool) (span, error) {
	if !picture {
		return t.duration()
	}
	s := span{first: math.MaxInt64, end: math.MinInt64}
	err := t.samples(func(one sample) error {
		s.first, s.end = min(s.first, one.shown), max(s.end, one.shown+one.length)
		s.longest = max(s.longest, one.length)
		return nil
	})
	if err == nil && s.first > s.end {
		err = errTables
	}
	return s, err
}

func (t *track) duration() (s span, err error) {
	if t.times == nil || len(t.times.SampleCount) == 0 {
		return s, errTables
	}
	for i, n := range t.times.SampleCount {
		delta := t.times.SampleTimeDelta[i]
		product := uint64(n) * uint64(delta)
		if product > 1<<60 || s.end > 1<<60 {
			return s, errTables
		}
		s.end += int64(product)
		s.longest = max(s.longest, int64(delta))
	}
	return s, nil
}
