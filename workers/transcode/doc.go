// Package transcode is the worker that makes the adaptive ladder of a video: H.264 renditions in CMAF
// segments, and the HLS playlists over them and over whatever sound other workers made.
//
//  1. Plan chooses the rungs by the picture's short edge (ladder.go) and makes one job for each chunk, and
//     a job "package" that waits for all of them and for the step "audio". For now a video is one chunk,
//     "0000".
//  2. A chunk (chunk.go) decodes its frames once, encodes every rung from them in one ffmpeg, cuts the
//     results into segments, verifies them, and publishes them with an index of their lengths and sizes.
//  3. The package job (package.go) reads the indexes and the outputs of the jobs before it, by kind alone,
//     and writes 720p/index.m3u8 and so on, and last master.m3u8: with it the video is playable.
//
// Time 0 of every rendition is the earliest start of the source's streams, which is what the audio worker
// takes too. Keyframes stand each 2 s at the same times in all rungs; a segment is three such groups.
//
// A rung's rate is the source's, divided by a whole number where the rung or the ladder has a limit: a
// source of 50 frames/s has 25 in the rungs up to 432p.
package transcode
