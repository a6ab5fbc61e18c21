// Package audio is the worker that makes the sound of a video: each sound track, encoded once and whole, is a
// rendition of its own that every rung of the ladder plays with.
//
//	audio-eng/init.mp4, seg_00000.m4s, ..., index.m3u8   one for each of the first 8 tracks, by language
//	audio.m4a                                            the default track alone, progressive
//
// Plan makes one job for each track, "0" for the default one, and none for a silent video. A second track
// of a language is audio-eng-2. Tracks beyond the eighth are left out: they are the many mono tracks of a
// camera.
//
// All are AAC-LC, stereo, 48 kHz, 128 kbit/s; more channels are mixed down. Time 0 is the earliest start of
// the source's streams, as in the ladder: a track that starts later begins with silence, gaps inside are
// silent too, and a track that ends before the picture is silent to its end. One that ends after it is kept
// whole.
//
// AAC begins with 1,024 samples of priming that players are told of by an edit list, which fragments read
// by Media Source Extensions do not always honour. So the segments take the place of the first 1,024
// samples (21 ms) for the priming: they begin at time 0 with no edit list, and every later sample stands
// where it belongs.
package audio
