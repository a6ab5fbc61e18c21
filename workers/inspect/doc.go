// Package inspect is the worker that every video begins with: it decides whether ReelMill accepts a file as
// a video, and finds out what is in it. It makes no outputs; its findings are the result.
//
//  1. The first bytes must be those of an allowed container (sniff); ffmpeg's own guess is never used. The
//     headers must not say that a track is encrypted (encrypted.go).
//  2. A hardened ffprobe, bound to that container, reads the facts, which must be within Limits. Tracks
//     whose decoder is not allowed for untrusted input are dropped. A track that begins late is searched
//     for in more of the file (late.go).
//  3. One picture track is chosen: by its number of frames if there are several (tracks.go), and by some of
//     its pictures if that does not exclude a still (still.go). The 8 likeliest films are compared, and 8
//     more while all of those are stills. A few frames of the chosen one are decoded. Audio that cannot be
//     decoded is dropped. Unused tracks become warnings.
//  4. Meanwhile the index of an MP4 is read: where its keyframes are, and what its edit lists do. For that,
//     H.264 in a container without an index is remuxed to an MP4 in the scratch folder.
//  5. Meanwhile the real length of the picture is measured: by that index, if every sample of an H.264 or
//     HEVC track is there and looks like one; else by reading the packets without decoding. In a file above
//     1 GiB only the end is read, unless the file's claim about it is wrong.
//  6. The frame rate follows from the times of the frames: the distance between frames, without pauses
//     (rate.go).
//
// A refusal is a finding: the job completes with VerdictReject. A fault of the machine is an error. A
// source that cannot be read completely is accepted with Damaged set, as long as one frame decodes.
//
// It does not decode the whole file, so only a later worker notices damage in the middle.
package inspect
