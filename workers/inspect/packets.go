package inspect

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// mostTimes is how many frame times are kept: more than an hour at 240 frames/s.
const mostTimes = 1 << 20

// track is what the packets of one stream show.
type track struct {
	packets int64
	unlike  int64 // packets that differ from the one before
	size    int64 // bytes of all packets
	// times are when packets are shown, in seconds from the start of reading; decode times if the container
	// has no others.
	times []float64
	tick  float64 // seconds per tick of its clock
	last  float64 // when the last frame is shown

	decoded     []float64
	lastDecoded float64
	later       float64 // seconds from decoding to display of the first packet; 0 if unknown
	untimed     int64
	checksum    string
	coded       bool // packets of zeros do not count
	passed      bool // likelier films were found before its turn
}

// packets reads streams without decoding them, and returns a track for each, in order. If most is not 0, it
// stops once one stream has that many packets. The reading with its errors is of all streams together.
func (m *measurement) packets(ctx context.Context, in ffmpeg.Input, streams []int, most int64) (
	[]track, reading, error,
) {
	enough, stop := context.WithCancel(ctx)
	defer stop()
	list := packetList{tracks: make([]track, len(streams)), most: most, enough: stop, budget: m.budget()}
	maps := make([]string, len(streams))
	for i, s := range streams {
		maps[i] = fmt.Sprintf("0:%d", s)
		list.tracks[i].coded = m.coded(s)
	}
	out := ffmpeg.Output{Format: "framecrc", Maps: maps, Options: []ffmpeg.Option{{Key: "c", Value: "copy"}}}
	r, err := m.readTo(enough, &list, []ffmpeg.Input{in}, out)
	switch {
	case list.over:
		err = pipeline.Fail(pipeline.CodeMalformed,
			"the index plays the same bytes again and again: the packets have more than %d bytes, the file has %d",
			list.budget, m.size)
	case enough.Err() != nil && ctx.Err() == nil:
		err = nil // enough was read
	}
	for i := range list.tracks {
		list.tracks[i].settle()
	}
	return list.tracks, r, err
}

// How many bytes the packets of a file may have.
const (
	mostGrowth = 8        // times as many as the file: Matroska strips headers, and compresses a little
	mostRepeat = 16 << 20 // and some more, for repetitions in an edit list
)

// budget returns how many bytes the packets of the streams may have together; 0: any number. A file whose
// packets have many more is a bomb: a megabyte of it may play for hours.
func (m *measurement) budget() int64 {
	if m.size == 0 {
		return 0
	}
	return mostGrowth*m.size + mostRepeat
}

// bitrate returns the bit rate of the packets, over at least a second.
func (t *track) bitrate() float64 { return float64(8*t.size) / max(1, t.last) }

// coded reports whether packets of a stream have headers. Then packets of zeros do not count: the file got
// its length before it was written, and was never completed.
func (m *measurement) coded(stream int) bool {
	return slices.ContainsFunc(m.probe.Streams, func(s ffmpeg.Stream) bool {
		return s.Index == stream && s.CodecType == "video" && s.CodecName != "rawvideo" && s.CodecName != "v210"
	})
}

// zeros is the checksum of a packet of zeros: Adler-32, which starts at 0 here.
const zeros = "0x00000000"

// settle uses decode times if too few packets have display times. It shifts them by the difference of the
// first packet's times, if that packet has both.
func (t *track) settle() {
	if t.untimed*10 > t.packets {
		for i := range t.decoded {
			t.decoded[i] += t.later
		}
		t.times, t.last = t.decoded, t.lastDecoded+t.later
	}
	t.decoded = nil
}

// packetList parses framecrc: "#tb stream: num/den" for each stream, then for each packet "stream, dts,
// pts, duration, size, crc". Source of the format: libavformat/framecrcenc.c.
type packetList struct {
	tracks []track
	most   int64 // stop when one stream has this many packets; 0: read all
	enough func()
	rest   []byte

	budget int64 // stop when all packets together have more bytes; 0: read all
	sum    int64
	over   bool // that is why it stopped
}

// Write implements io.Writer.
func (l *packetList) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, tail, whole := bytes.Cut(p, []byte("\n"))
		if !whole {
			if l.rest = append(l.rest, line...); len(l.rest) > 4096 {
				l.rest = nil // no line of this format is this long
			}
			return n, nil
		}
		l.line(string(append(l.rest, line...)))
		l.rest, p = l.rest[:0], tail
	}
}

func (l *packetList) line(line string) {
	var stream, num, den int
	if strings.HasPrefix(line, "#") {
		_, err := fmt.Sscanf(line, "#tb %d: %d/%d", &stream, &num, &den)
		if err == nil && stream >= 0 && stream < len(l.tracks) && num > 0 && den > 0 {
			l.tracks[stream].tick = float64(num) / float64(den)
		}
		return
	}
	fields := strings.Split(line, ",")
	if len(fields) < 6 {
		return
	}
	stream, err := strconv.Atoi(strings.TrimSpace(fields[0]))
	if err != nil || stream < 0 || stream >= len(l.tracks) {
		return
	}
	dts, err := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 64)
	pts, unread := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
	size, unsized := strconv.ParseInt(strings.TrimSpace(fields[4]), 10, 32) // as large as a packet can be
	if err != nil || unread != nil || unsized != nil || size <= 0 {
		return
	}
	if l.sum += size; l.budget > 0 && l.sum > l.budget && !l.over {
		l.over = true
		l.enough()
	}
	if strings.TrimSpace(fields[5]) == zeros && l.tracks[stream].coded {
		return
	}
	l.tracks[stream].add(dts, pts, size, fields[5])
	if l.most > 0 && l.tracks[stream].packets == l.most {
		l.enough()
	}
}

// noTime is an unknown time (AV_NOPTS_VALUE).
const noTime = math.MinInt64

func (t *track) add(dts, pts, size int64, checksum string) {
	t.packets++
	t.size += size
	if checksum != t.checksum {
		t.unlike++
	}
	t.checksum = checksum
	if dts != noTime {
		t.decoded, t.lastDecoded = keepTime(t.decoded, t.lastDecoded, float64(dts)*t.tick)
	}
	if pts == noTime {
		t.untimed++
		return
	}
	if t.packets == 1 && dts != noTime {
		t.later = (float64(pts) - float64(dts)) * t.tick
	}
	t.times, t.last = keepTime(t.times, t.last, float64(pts)*t.tick)
}

func keepTime(times []float64, last, at float64) ([]float64, float64) {
	if len(times) < mostTimes {
		times = append(times, at)
	}
	return times, max(last, at)
}
