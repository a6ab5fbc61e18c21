package sound

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// errEnough ends reading: all that is wanted has been written.
var errEnough = errors.New("enough")

// Times of a source are taken at their word only where they are this far, in seconds, from where the samples
// before end: those of many containers are rounded, and sound that is cut at each of them crackles.
const tolerance = 0.1

// timeline puts pieces where their times say, and writes what is wanted of it.
type timeline struct {
	channels int
	next     int64 // the sample that follows on those that came
	start    int64 // the sample that the limiter begins with: all before leave no trace in what is wanted
	last     int64 // no sample is taken from there on: hostile times would fill the disk
	until    int64 // silence up to here, at the end
	apart    int64 // tolerance in samples
	offset   int64 // added to the times of pieces
	heard    bool  // a piece came
	limit    *limiter

	samples []float32
	latest  int64 // what the piece before says
	heldAt  int64
	held    []float32 // that piece, when it says it belongs far from the ones before it
	early   bool      // it said that there was a hole, too short to be believed
	astray  bool      // it, or one before, was out of order: the pieces after it have no times of their own
	exact   bool      // the next piece is put just where it says
}

// timeline returns that of the track, which writes to w.
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

// add takes the samples that begin at a time. Only the first, and those that are far from where the ones
// before end, are put where they say.
func (l *timeline) add(at int64, data []byte) error {
	frame := 4 * l.channels
	if len(data)%frame != 0 {
		return fmt.Errorf("read decoded sound: %d bytes of %d channels", len(data), l.channels)
	}
	at += l.offset
	if at >= l.last || len(data) == 0 {
		return nil
	}
	// ffmpeg writes no time that goes back, but the least that it can.
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

// goBack takes a piece that comes after one of a later time. When that one was far from those before it, it
// was out of order: some decoders give the frame at a change of the rate a time by the old one. Else this
// piece overlaps what is there, and is dropped.
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

// release puts the piece that is held where it belongs, now that the next one begins at a time: where it
// says, or, when that next one follows on those before, between them.
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

// place puts a piece that has a time of its own, or holds it back.
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

// put adds samples where they belong: after silence, or without what is there already.
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

// append gives samples to the limiter, but for those before start.
func (l *timeline) append(samples []float32) error {
	n := int64(len(samples) / l.channels)
	drop := min(max(0, l.start-l.next), n)
	l.next += n
	if drop == n {
		return nil // nothing, too
	}
	return l.limit.add(samples[drop*int64(l.channels):])
}

// audible is s, or what stands for a value that no encoder takes.
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

// silence adds n samples of it.
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

// finish writes what is still to come.
func (l *timeline) finish() error {
	if err := l.release(math.MaxInt64 / 2); err != nil {
		return err
	}
	if err := l.silence(max(0, l.until-l.next)); err != nil {
		return err
	}
	return l.limit.finish()
}

// writer writes samples as 32-bit floats, without the first and those after the end.
type writer struct {
	w        io.Writer
	channels int
	skip     int64 // samples that are not wanted yet
	at, end  int64 // position of the next one; where writing ends, 0: nowhere
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
		return fmt.Errorf("write sound: %w", err)
	}
	if w.end > 0 && w.at >= w.end {
		return errEnough
	}
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }
