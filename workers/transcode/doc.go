// Package transcode is the worker that makes the adaptive ladder of a video: H.264 renditions in CMAF
// segments. The packager lists them for players.
//
//  1. Plan (plan.go) chooses the rungs by the short edge of the frame (ladder.go): the source's own size,
//     up to 1080p, and steps below it. The bit rate of a rung is at most 1.3 times the source's, scaled by
//     the pixels (picture.Cap).
//  2. A source that is standard input (standard.go) becomes the top rung as it is (copy.go, remux.go,
//     colour.go). The job "copy" copies the first minute and decides whether the rest may be copied;
//     "copy-0001", ... copy the rest. A source without an index is remuxed first. If the source is not
//     copied, a note of the first job says why.
//  3. All other rungs are divided into chunks of whole segments, on an absolute grid of output frames:
//     jobs "0000", "0001", ..., which any worker takes in any order. The lowest rung of the first segment
//     is a job of its own, "first", which runs before the others.
//  4. A chunk (chunk.go) starts to decode at a keyframe before its frames. One ffmpeg decodes the frames
//     once and encodes all rungs of the chunk. The job cuts the results into segments, verifies them, and
//     publishes them with an index of their lengths and sizes (run.go).
//  5. Playlists join the runs of a rendition by listing them in order; no run is changed for it. A chunk's
//     first decode time is the end of the previous chunk, since both are on the grid. Its first frame is
//     an IDR picture. Equal encoders write equal init sections.
//  6. "copy", or "first" and the openers of the audio worker, are openers: once they are completed the
//     video is playable. The API writes its playlists from the outputs of completed jobs.
//  7. A progressive MP4 of a rung (file.go) is made from the segments, on demand. Its job waits for all
//     jobs that make audio renditions, whatever their worker.
//
// Time 0 of every rendition, audio included, is the earliest start of the source's used tracks. All encoded
// rungs have keyframes at the same times, every 2 s; a segment has three such groups. The copied rung has
// the groups of its source.
//
// A rung has the source's frame rate, divided by a whole number if the rung or the ladder has a lower limit:
// of a source of 50 frames/s, the rungs up to 432p have 25.
//
// Not guaranteed: a viewer who started before the larger rungs existed only sees them after reading the
// master playlist again.
package transcode
