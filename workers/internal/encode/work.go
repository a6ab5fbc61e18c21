package encode

import (
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Work says how much a run of ffmpeg has to do at most. A file may hold frames that take hours to decode,
// such as a JPEG of a hundred thousand scans, behind good ones that inspection saw. So a run gets CPU time
// by the pixels that good files need, and room for its files by those that it encodes. The zero Work is
// unlimited.
type Work struct {
	Read    float64 // bytes that are read
	Decoded float64 // pixels that are decoded and filtered
	Encoded float64 // pixels that are encoded
	Frames  float64 // among which the pixels are; 0: not known
}

// Decoding returns the work of reading a source, decoding seconds of its picture, and filtering that at a
// rate in frames/s.
func Decoding(m pipeline.Media, seconds, rate float64) Work {
	pixels := float64(m.Video.CodedWidth * m.Video.CodedHeight)
	frames := seconds * max(rate, m.Video.FrameRate())
	return Work{Read: float64(m.Size), Decoded: frames * pixels, Frames: frames}
}

// CPU time that work may take. It leaves room for machines that are ten times as slow as one on which libx264
// takes 170 ns per pixel with the preset slow, and decoding and filtering one at most 30 ns. A start takes
// 0.2 s, and a byte that is read and not used 1 ns. More is not given: a file that runs into the limit does
// so in each job of its video, two at a time on two cores, and its verdict waits for the last.
const (
	startTime      = 5 * time.Second
	timePerRead    = 30.0   // ns
	timePerDecoded = 400.0  // ns
	timePerEncoded = 2000.0 // ns
	mostTime       = 30 * 24 * time.Hour
)

// limit returns the CPU time for w; 0: no limit.
func (w Work) limit() time.Duration {
	if w == (Work{}) {
		return 0
	}
	return w.time(1)
}

// time returns the CPU time for reading all and for a share of the pixels.
func (w Work) time(share float64) time.Duration {
	more := timePerRead*w.Read + share*(timePerDecoded*w.Decoded+timePerEncoded*w.Encoded)
	return startTime + time.Duration(min(more, float64(mostTime)))
}

// mostAhead is how many frames ffmpeg may work on between two reports: at its end an encoder makes all that
// it looked ahead at. libx264 looks at most 60 frames ahead with any preset, and holds a few for its threads.
const mostAhead = 100

// hang returns the CPU time that a run may use between two reports of ffmpeg; 0: no limit. So a frame that
// takes hours ends even a long video soon.
func (w Work) hang() time.Duration {
	if w.Frames == 0 {
		return 0
	}
	return w.time(min(1, mostAhead/w.Frames))
}

// Bytes that one file of an encode may have. libx264 writes 2.4 bytes for a pixel of pure noise without
// quantisation (TestNoiseFitsItsFile), and far fewer with ours. The floor is for audio, containers and
// pictures.
const (
	leastFile       = 1 << 30
	bytesPerEncoded = 4.0
	mostFile        = 1 << 50
)

// file returns how large a file that w makes may be; 0: no limit.
func (w Work) file() int64 {
	if w == (Work{}) {
		return 0
	}
	return leastFile + int64(min(bytesPerEncoded*w.Encoded, mostFile))
}
