package audiotrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// errEnough ends reading: everything wanted has been written.
var errEnough = errors.New("enough")

// A source's time is ignored if it is within tolerance, in seconds, of the end of the previous samples:
// many containers round times, and cutting audio at each of them makes it crackle.
const tolerance = 0.1

// timeline places pieces at their times and writes the wanted part.
type timeline struct {
	channels int
	next     int64 // the sample after the last one so far
	start    int64 // the limiter's first sample; earlier ones do not influence the wanted part
	last     int64 // samples from here on are ignored: hostile times would fill the disk
	until    int64 // the end is silence up to here
	apart    int64 // tolerance in samples
	offset   int64 // added to the times of pieces
	heard    bool  // there was a piece
	limit    *limiter

	samples []float32
	latest  int64 // time of the previous piece
	heldAt  int64
	held    []float32 // that piece, if its time is far from those before
	early   bool      // its time left a gap within the tolerance
	astray  bool      // it or an earlier one was out of order: ignore the times of later pieces
	exact   bool      // place the next piece exactly at its time
}

// timeline returns a timeline of the track that writes to w.
func (t Track) timeline(w io.Writer) *timeline {
	l := &timeline{
		channels: t.Channels, offset: t.offset, apart: int64(tolerance * float64(t.Rate)), last: math.MaxInt64,
	}
	out := &writer{w: w, channels: t.Channels, at: t.First, end: t.End}
	l.limit = newLimiter(t.Rate, t.Channels, t.Source.Channels > 2, out.write)
	l.start = max(0, t.First-int64(l.limit.memory()))
	out.skip = t.First - l.start
	l.until = max(t.Until, t.First)
	if t.Input.Limit > 0 {
		l.last = int64((t.Input.Seek + t.Input.Limit).Seconds() * float64(t.Rate))
	}
	if t.End > 0 {
		l.until = t.End
	}
	return l
}

// add adds the samples that begin at a time. It uses the time only for the first ones, and for those far
// from the end of the previous ones.
func (l *timeline) add(at int64, data []byte) error {
	frame := 4 * l.channels
	if len(data)%frame != 0 {
		return fmt.Errorf("read decoded audio: %d bytes of %d channels", len(data), l.channels)
	}
	at += l.offset
	if at >= l.last || len(data) == 0 {
		return nil
	}
	// ffmpeg never writes a time that goes back: it writes the smallest possible one instead.
	back := l.heard && at <= l.latest+1
	l.heard, l.latest = true, at
	l.samples = l.samples[:0]
	for ; len(data) > 0; data = data[4:] {
		l.samples = append(l.samples, audible(math.Float32frombits(binary.LittleEndian.Uint32(data))))
	}
	if back {
		return l.goBack()
	}
	if err := l.release(at); err != nil {
		return err
	}
	return l.place(at)
}

// goBack handles a piece after one of a later time. If that one was far from those before it, it was out of
// order: at a change of the sample rate some decoders compute a frame's time with the old rate. Otherwise
// this piece overlaps existing samples and is dropped.
func (l *timeline) goBack() error {
	l.exact = true
	if l.astray = l.astray || l.early || len(l.held) > 0; !l.astray {
		return nil
	}
	held := l.held
	l.held = l.held[:0]
	if err := l.append(held); err != nil {
		return err
	}
	return l.append(l.samples)
}

// release places the held piece, now that the next one begins at a time: at its own time, or, if the next
// piece continues the earlier ones, between them.
func (l *timeline) release(at int64) error {
	l.astray = false
	if len(l.held) == 0 {
		return nil
	}
	held, n := l.held, int64(len(l.held)/l.channels)
	l.held = l.held[:0]
	if apart := at - l.next - n; max(apart, -apart) >= l.apart {
		return l.put(l.heldAt, held)
	}
	l.exact = true
	return l.append(held[:min(max(0, at-l.next), n)*int64(l.channels)])
}

// place places a piece that has a time of its own, or holds it.
func (l *timeline) place(at int64) error {
	exact, gap := l.exact || l.next == 0, at-l.next
	l.exact, l.early = false, gap > l.apart/20
	switch {
	case exact:
		return l.put(at, l.samples)
	case max(gap, -gap) >= l.apart:
		l.held, l.heldAt = append(l.held[:0], l.samples...), at
		return nil
	}
	return l.append(l.samples)
}

// put adds samples at a time: after silence, or without the part that overlaps.
func (l *timeline) put(at int64, samples []float32) error {
	if gap := at - l.next; gap > 0 {
		if err := l.silence(gap); err != nil {
			return err
		}
	} else {
		n := int64(len(samples) / l.channels)
		samples = samples[min(-gap, n)*int64(l.channels):]
	}
	return l.append(samples)
}

// append passes samples to the limiter, except those before start.
func (l *timeline) append(samples []float32) error {
	n := int64(len(samples) / l.channels)
	drop := min(max(0, l.start-l.next), n)
	l.next += n
	if drop == n {
		return nil // also for no samples
	}
	return l.limit.add(samples[drop*int64(l.channels):])
}

// audible returns s, or a substitute for a value that no encoder accepts.
func audible(s float32) float32 {
	const most = 1000 // 60 dB above full scale
	switch {
	case s != s:
		return 0
	case s > most:
		return most
	case s < -most:
		return -most
	}
	return s
}

// silence adds n samples of silence.
func (l *timeline) silence(n int64) error {
	const most = 1 << 14
	zeros := make([]float32, min(n, most)*int64(l.channels))
	for end := l.next + n; l.next < end; {
		if err := l.append(zeros[:min(end-l.next, most)*int64(l.channels)]); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the rest.
func (l *timeline) finish() error {
	if err := l.release(math.MaxInt64 / 2); err != nil {
		return err
	}
	if err := l.silence(max(0, l.until-l.next)); err != nil {
		return err
	}
	return l.limit.finish()
}

// writer writes samples as 32-bit floats, without the first ones and those after the end.
type writer struct {
	w        io.Writer
	channels int
	skip     int64 // samples before the wanted part
	at, end  int64 // position of the next sample; end of writing, 0 for none
	bytes    []byte
}

func (w *writer) write(samples []float32) error {
	drop := min(w.skip, int64(len(samples)/w.channels))
	w.skip -= drop
	samples = samples[drop*int64(w.channels):]
	n := int64(len(samples) / w.channels)
	if w.end > 0 {
		n = min(n, w.end-w.at)
	}
	w.bytes = w.bytes[:0]
	for _, s := range samples[:n*int64(w.channels)] {
		w.bytes = binary.LittleEndian.AppendUint32(w.bytes, math.Float32bits(s))
	}
	w.at += n
	if _, err := w.w.Write(w.bytes); err != nil {
		return fmt.Errorf("write audio: %w", err)
	}
	if w.end > 0 && w.at >= w.end {
		return errEnough
	}
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }
