// Package transcode is the worker that makes the adaptive ladder of a video: H.264 renditions in CMAF
// segments. The packager lists them for players.
//
//  1. Plan (plan.go) chooses the rungs by the picture's short edge (ladder.go): the source's own size, up
//     to 1080p, and steps below it. No rung has more than 1.3 times the bits of its source for its share
//     of the pixels (picture.Cap). A source that is standard input (standard.go) becomes the top rung as
//     it is, its first minute by the job "copy", which decides whether that is sound, what follows by
//     "copy-0001", ... (copy.go, remux.go, colour.go). What has no index is remuxed first. Why a source
//     is not copied is a note of the first job. All else is cut into chunks of whole segments on an
//     absolute grid of output frames: jobs "0000", "0001", ..., which any worker takes in any order. The
//     lowest rung of the first segment is a job of its own, "first", that comes before the others.
//  2. A chunk (chunk.go) decodes its frames once, from a keyframe some time before them, encodes its
//     rungs from them in one ffmpeg, cuts the results into segments, verifies them, and publishes them
//     with an index of their lengths and sizes (run.go).
//  3. Runs of one rendition are joined by listing them one after the other: the grid makes the first
//     decode time of a chunk the end of the one before it, equal encoders write equal init sections, and
//     the first frame of a chunk is an IDR picture. Nothing is stitched.
//  4. The jobs "copy", or "first" and those of the sound, are openers: with them the video is playable,
//     by playlists that the API writes from the outputs of completed jobs.
//  5. A progressive MP4 of a rung (file.go) is made from the segments, on demand. It waits for whatever
//     makes audio renditions, by the kind of its outputs.
//
// Time 0 of every rendition is the earliest start of the source's used tracks, which is what the audio worker
// takes too. Keyframes stand each 2 s at the same times in all encoded rungs; a segment is three such
// groups. The copied rung has its source's groups.
//
// A rung's rate is the source's, divided by a whole number where the rung or the ladder has a limit: a
// source of 50 frames/s has 25 in the rungs up to 432p.
//
// What it does not promise: that a viewer who began before the larger rungs were there sees them without
// reading the master playlist again.
package transcode
