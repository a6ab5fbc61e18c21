// Package audio is the worker that makes the audio renditions of a video: one for each audio track, encoded
// at most once. All rungs of the ladder share them.
//
//	audio-eng/init.mp4, seg_00000.m4s, ...   for each of the first 8 tracks, named by language
//	audio.m4a                                a progressive file of the default track
//	index/<job>.json                         the segments that a job made, for the packager
//
// A second track of a language is audio-eng-2. Tracks beyond the eighth are left out: they are usually the
// many mono tracks of a camera. The steps:
//
//  1. Plan (plan.go) divides each track into jobs; a video without audio has none. A short track is one job,
//     named by its number i. A longer track has "i-first", which playback waits for: the first 6 s, or the
//     first minute of a copied track. Then come chunks of 4 minutes, "i-0000", "i-0001", ..., and
//     "i-file", which makes audio.m4a.
//  2. An AAC-LC track in an MP4 is copied if its facts allow that (copyable.go): copy.go finds its frames by
//     the index, and writes them to segments as they are. If the track turns out to be unfit for copying,
//     it is encoded.
//  3. Any other track is encoded to AAC-LC, stereo, 48 kHz, 128 kbit/s (encode.go), on a grid of frames
//     (grid.go): frame j begins at sample 1024*j. Package audiotrack decodes, mixes and limits the samples.
//     A chunk seeks to some seconds before its start (survey.go). It encodes from 8 s before its first
//     frame, so that the encoder settles, and keeps exactly its own frames. So chunks from different
//     machines join without a gap, an overlap or a click. If AAC raises the peaks of a mix above -1 dBFS,
//     the mix is encoded again with another search.
//  4. Packets are written as CMAF segments (segments.go, header.go). The header depends only on the format,
//     so all chunks have the same one.
//  5. The segments are verified, then published (publish.go).
//  6. audio.m4a has the same packets in another container (file.go).
//
// Time 0 is the earliest start of the source's used tracks, as in the ladder. An encoded track has silence up
// to its start, in gaps, and from its end to the end of the video. A copied track is unchanged, but moved by
// at most a frame (21 to 23 ms), so that its first packet plays at 0. Silent frames follow up to the end of
// the video.
//
// AAC begins with 1,024 samples of priming, which an edit list should hide. Media Source Extensions do not
// always apply the edit list of fragments. So here the priming replaces the first 1,024 samples (21 ms): the
// segments begin at time 0 without an edit list, and all later samples are at their own times.
//
// Not guaranteed: that a chunk equals the same part of a track encoded in one go, bit for bit. The encoder
// spends bits by what came before. If a source's times drift from its samples, each chunk begins at the time
// that the source says, so that it stays in sync with the video.
package audio
