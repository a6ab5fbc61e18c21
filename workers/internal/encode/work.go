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
}

// Decoding returns the work of reading a source, decoding seconds of its picture, and filtering that at a
// rate in frames/s.
func Decoding(m pipeline.Media, seconds, rate float64) Work {
	pixels := float64(m.Video.CodedWidth * m.Video.CodedHeight)
	return Work{Read: float64(m.Size), Decoded: seconds * max(rate, m.Video.FrameRate()) * pixels}
}

// CPU time that work may take. It leaves room for machines that are ten times as slow as one on which libx264
// takes 170 ns per pixel with the preset slow, and decoding and filtering one at most 30 ns. A start takes
// 0.2 s, and a byte that is read and not used 1 ns. More is not given: a file that runs into the limit does so
// in each job of its video, two at a time on two cores, and its verdict waits for the last.
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
	more := timePerRead*w.Read + timePerDecoded*w.Decoded + timePerEncoded*w.Encoded
	return startTime + time.Duration(min(more, float64(mostTime)))
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
