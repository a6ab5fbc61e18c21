// Package sound owns how the sound of a source is heard in every output: one rate, one or two channels, on
// the video's own timeline, at its own level and never clipped.
//
// A format that changes in mid-stream (television that goes from stereo to 5.1, another sample rate) makes
// ffmpeg build its filter graph anew: filters that count from 0, fill holes or pad begin again, and times go
// backwards. So the work is divided:
//
//  1. One ffmpeg decodes the track (track.go). Its graph has filters only that may begin anew at any frame:
//     they bring samples to one form, and leave times alone. It writes to a pipe.
//  2. This process puts the samples where their times say (timeline.go): silence before the first, in holes
//     and after the last; what overlaps is dropped.
//  3. A limiter keeps them from clipping (limit.go).
//  4. A second ffmpeg encodes what it reads from another pipe, and sees one format from 0 on (encode.go).
//
// Levels: one channel is heard from both sides as loud as it was. Two stay as they are. More are mixed down
// as ITU-R BS.775 has it, with the LFE channel at -15 dB. A mix of more than two is limited to a true peak
// of -1 dBFS after encoding. One and two channels keep what fits into full scale, and are limited only above.
//
// It does not follow times to the sample where a format changes: the resampler's tail, below a millisecond,
// is lost there by some versions of ffmpeg.
package sound
