package sampletable

import (
	"errors"
	"fmt"
	"math"
)

// sample is one sample; times are ticks of its track.
type sample struct {
	offset, size int64 // in the file, bytes
	decoded      int64 // decode time
	shown        int64 // composition time
	length       int64
	key          bool
}

// errTables means that the tables contradict each other.
var errTables = errors.New("the sample tables do not agree")

// samples calls visit for each sample in decoding order, and ends with its first error.
func (t *track) samples(visit func(sample) error) error {
	if t.times == nil || t.sizes == nil || t.runs == nil || t.near == nil && t.far == nil {
		return errors.New("no sample tables")
	}
	n := int(t.sizes.GetNrSamples())
	if n > maxSamples {
		return fmt.Errorf("%d samples", n)
	}
	counts := t.times.SampleCount
	times := runLength{entries: len(counts), count: func(i int) uint32 { return counts[i] }}
	shown := runLength{}
	if t.shown != nil {
		shown = runLength{entries: t.shown.NrSampleCount(), count: t.shown.SampleCount}
	}
	places := placer{track: t}
	keys := keyframes{track: t}
	decoded := int64(0)
	for i := range n {
		s := sample{size: t.size(i), decoded: decoded}
		entry, ok := times.next()
		if ok {
			s.offset, ok = places.next(s.size)
		}
		if !ok || t.times.SampleTimeDelta[entry] > math.MaxInt32 {
			return errTables
		}
		s.length = int64(t.times.SampleTimeDelta[entry])
		s.shown = decoded
		if t.shown != nil {
			if entry, ok = shown.next(); !ok {
				return errTables
			}
			s.shown += int64(t.shown.SampleOffset[entry])
		}
		s.key = keys.next(i + 1)
		if err := visit(s); err != nil {
			return err
		}
		decoded += s.length
	}
	if _, more := times.next(); more || !keys.done() {
		return errTables
	}
	return nil
}

func (t *track) size(i int) int64 {
	if t.sizes.SampleUniformSize > 0 {
		return int64(t.sizes.SampleUniformSize)
	}
	return int64(t.sizes.SampleSize[i])
}

// runLength iterates over a table whose entries cover several samples each.
type runLength struct {
	entries int
	count   func(entry int) uint32
	at      int    // entries begun
	left    uint32 // remaining samples of the current entry
}

// next returns the entry of the next sample.
func (r *runLength) next() (entry int, ok bool) {
	for r.left == 0 {
		if r.at == r.entries {
			return 0, false
		}
		r.left = r.count(r.at)
		r.at++
	}
	r.left--
	return r.at - 1, true
}

// placer iterates over chunks. runs says how many samples each has, and from which chunk on.
type placer struct {
	track *track
	entry int    // of runs, begun
	chunk int    // begun, so the first is 1
	left  uint32 // its remaining samples
	at    int64  // where the next sample begins
}

func (p *placer) next(size int64) (offset int64, ok bool) {
	for p.left == 0 {
		runs := p.track.runs.Entries
		p.chunk++
		if p.entry < len(runs) && int64(runs[p.entry].FirstChunk) == int64(p.chunk) {
			p.entry++
		}
		if p.chunk > p.track.chunks() || p.entry == 0 {
			return 0, false
		}
		p.left, p.at = runs[p.entry-1].SamplesPerChunk, p.track.chunk(p.chunk-1)
	}
	if p.at < 0 || p.at > math.MaxInt64/2 {
		return 0, false
	}
	offset = p.at
	p.at += size
	p.left--
	return offset, true
}

// keyframes iterates over the numbers of keyframes, which ascend.
type keyframes struct {
	track *track
	at    int
}

func (k *keyframes) next(number int) bool {
	if k.track.keys == nil {
		return true
	}
	if k.done() || int(k.track.keys.SampleNumber[k.at]) != number {
		return false
	}
	k.at++
	return true
}

// done reports whether all were reached.
func (k *keyframes) done() bool {
	return k.track.keys == nil || k.at == len(k.track.keys.SampleNumber)
}
