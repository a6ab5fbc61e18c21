// Package picture owns the rules that hold for every picture that leaves ReelMill, so that a ladder, a
// watermarked copy and a thumbnail of one video look alike: upright, square pixels, even sizes, progressive,
// SDR BT.709 in limited range, no alpha, and a constant frame rate.
//
// What it decides, from the media facts alone:
//
//  1. Rate: the constant frame rate of the outputs.
//  2. Size: the size of an output by its short edge, never larger than the source.
//  3. Nodes: the filter chain from decoded frames to those. It takes frames whose size, pixels' shape or
//     pixel format change in mid-stream: parts of another shape stand between bars, and no frame is lost.
//     Still: the same, on to RGB, for still pictures.
//  4. Grid: which frames of the absolute grid at a Rate a chunk has, and Form: what they look like.
//  5. Source and SourceFrom (source.go): how the file is opened, at its start or for a chunk; a VP8 or VP9
//     with alpha needs another decoder than ffmpeg's own.
//  6. H264 (encode.go): the encoder's options by quality.
//
// The origin of time is the earliest start of the tracks that are used (origin.go): 0, for picture and sound
// alike. A picture that starts later is preceded by copies of its first frame, a sound by silence (the audio
// worker), so both keep their distance, to half a frame: a picture begins on the grid (Lead). Both end with
// the longest of them: the picture with copies of its last frame, the sound with silence.
//
// Each colour is within 1 of its exact conversion to BT.709, and grey has no colour at all. Differences
// between the BT.601 and BT.709 primaries are left alone: only matrix and range are converted. Of a stream
// that changes its matrix or its untagged range on the way, the first is taken for all.
package picture
