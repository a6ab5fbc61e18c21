// Package audio is the worker that makes the sound of a video: each sound track, encoded at most once, is
// a rendition of its own that every rung of the ladder plays with.
//
//	audio-eng/init.mp4, seg_00000.m4s, ...   one for each of the first 8 tracks, by language
//	audio.m4a                                the default track alone, progressive
//	index/<job>.json                         what each job made, for whoever writes the playlists
//
// A second track of a language is audio-eng-2. Tracks beyond the eighth are left out: they are the many
// mono tracks of a camera. How it goes:
//
//  1. Plan (plan.go) divides each track into jobs; none for a silent video. Track i is the one job "i"
//     when it is short. Of a longer one "i-first" is what playback waits for, the first 6 s or, of a
//     copy, the first minute; "i-0000", "i-0001", ... are chunks of 4 minutes, and "i-file" makes
//     audio.m4a.
//  2. A track in an MP4 that is AAC-LC already, of a sound form (copyable.go), is copied: its frames are
//     found by the index, and become segments as they are (copy.go). What does not prove sound on the way
//     is encoded after all.
//  3. Any other is encoded to AAC-LC, stereo, 48 kHz, 128 kbit/s (encode.go), on the grid of frames
//     (grid.go): frame j is the samples from 1024*j on. Package sound decodes, mixes and limits the samples.
//     A chunk seeks to some seconds before it (survey.go), encodes from 8 s before its first frame, so that
//     the encoder has settled, and keeps exactly its own frames. So chunks made on different machines follow
//     on each other without a gap, an overlap or a click. A mix that AAC itself brings above -1 dBFS is
//     encoded again by another search.
//  4. Packets are written as CMAF segments (segments.go, header.go) under a header made from the form of
//     the sound alone, the same bytes in every chunk.
//  5. What was made is verified, then published (publish.go).
//  6. audio.m4a is the same packets in another container (file.go).
//
// Time 0 is the earliest start of the source's used tracks, as in the ladder: an encoded track that starts
// later begins with silence, gaps inside are silent too, and a track that ends before the video is silent
// to its end. A copied track is as it was, moved by at most a frame (21 to 23 ms), so that its first packet
// plays at 0, and ends with silent frames where it ends before the video.
//
// AAC begins with 1,024 samples of priming that players are told of by an edit list, which fragments read
// by Media Source Extensions do not always honour. So the segments take the place of the first 1,024
// samples (21 ms) for the priming: they begin at time 0 with no edit list, and every later sample stands
// where it belongs.
//
// It does not promise that a chunk equals the same part of a track encoded in one go bit for bit: the
// encoder spends bits by what came before. And where a source's own times drift from its samples, each
// chunk begins anew at the time that the source says, which is what keeps it with the picture.
package audio
