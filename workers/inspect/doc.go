// Package inspect is the worker that every video begins with: it decides whether ReelMill accepts a file as
// a video, and finds out what is in it. It makes no outputs; its findings are the result.
//
//  1. The first bytes must be those of an allowed container (sniff); ffmpeg's own guess is never used. The
//     headers must not say that a track is encrypted (encrypted.go).
//  2. A hardened ffprobe, bound to that container, reads the facts, which must be within Limits. Tracks
//     whose decoder is not allowed for untrusted input are dropped. If a track seems to begin late, more of
//     the file is searched for it (late.go).
//  3. One video track is chosen. If there are several, their numbers of packets exclude most stills
//     (tracks.go), and comparing some of their frames excludes the others (still.go). The 8 likeliest films
//     are compared, and 8 more while all of those are stills.
//  4. A few frames of the chosen track are decoded. Audio that cannot be decoded is dropped. Unused tracks
//     become warnings.
//  5. Meanwhile the index of an MP4 is read, for the times of its keyframes and the effect of its edit lists.
//     H.264 in a container without an index is remuxed to an MP4 in the scratch directory for that.
//  6. Meanwhile the real length of the video track is measured: by that index, if it has every sample of an
//     H.264 or HEVC track and each looks valid; otherwise by reading the packets without decoding. In a file
//     above 1 GiB only the end is read, unless the end is not where the file claims.
//  7. The frame rate is computed from the distances between frames, without pauses (rate.go).
//
// A refusal is a finding: the job completes with VerdictReject. A fault of the machine is an error. A
// source that cannot be read completely is accepted with Damaged set, as long as one frame decodes.
//
// It does not decode the whole file, so only a later worker notices damage in the middle.
package inspect
