// Package picture owns the rules for all frames that ReelMill makes, so that the renditions, the watermarked
// copy and the thumbnails of a video look alike: upright, square pixels, even sizes, progressive, SDR BT.709
// in limited range, no alpha, and a constant frame rate.
//
// From the media facts alone it decides:
//
//  1. Rate: the constant frame rate of the outputs.
//  2. Size: the size of an output by its short edge, never larger than the source.
//  3. Nodes: the filter chain from decoded frames to those of outputs. Frames may change their size, pixel
//     aspect or pixel format in mid-stream: frames of another shape get bars, and no frame is lost. Still:
//     the same with RGB at the end, for still images.
//  4. Grid: which frames of the absolute grid at a Rate belong to a chunk, and Form: what they look like.
//  5. Source and SourceFrom (source.go): how to open the file, at its start or for a chunk. VP8 and VP9 with
//     alpha need a decoder other than ffmpeg's own.
//  6. H264 (encode.go): the encoder's options by quality.
//
// Time 0 is the earliest start of the used tracks (origin.go), for video and audio alike. If the video track
// starts later, copies of its first frame precede it; silence precedes late audio (package audiotrack). So
// both stay in sync, to half a frame, since the video begins on the grid (Lead). Both end with the longest
// track: the video with copies of its last frame, audio with silence.
//
// Each colour is within 1 of its exact conversion to BT.709, and grey has no colour at all. Only matrix and
// range are converted, not BT.601 primaries. If a stream changes its matrix or its untagged range, the
// first one counts for all of it.
package picture
