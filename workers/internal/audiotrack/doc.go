// Package audiotrack owns how a source's audio sounds in every output: one rate, one or two channels, on the
// video's own timeline, at its own level and never clipped.
//
// When the format changes in mid-stream (television that goes from stereo to 5.1, or another sample rate),
// ffmpeg builds its filter graph again: filters that count from 0, fill gaps or pad start over, and times
// go backwards. So the work is divided:
//
//  1. One ffmpeg decodes the track to a pipe (track.go). Its filters may start over at any frame: they
//     convert samples to one form, and leave times unchanged.
//  2. This process places the samples at their times (timeline.go), with silence before the first, in gaps
//     and after the last. It drops overlapping samples.
//  3. A limiter prevents clipping (limit.go).
//  4. A second ffmpeg encodes from another pipe, and sees one format from time 0 (encode.go).
//
// Levels: one channel goes to both sides at its own level. Two channels are unchanged. More are mixed down by
// ITU-R BS.775, with the LFE channel at -15 dB, and limited to a true peak of -1 dBFS after encoding. One and
// two channels are only limited above full scale.
//
// Times are not exact to the sample where a format changes: some versions of ffmpeg lose the resampler's
// tail there, less than a millisecond.
package audiotrack
