// Package inspect is the worker that every video begins with: it says whether a file is a video that
// ReelMill takes, and what is in it. It makes no outputs, its finding is the result.
//
//  1. The first bytes must be of a container on the list (sniff); ffmpeg's own guess is never asked. The
//     headers must not say that a track is encrypted (encrypted.go).
//  2. A hardened ffprobe, bound to that container, reads the facts, which must lie within Limits. Tracks
//     whose decoder may not see untrusted input are left out. A track that begins late is looked for in
//     more of the file (late.go).
//  3. The one picture track that counts is chosen, by the number of its frames where there are several
//     (tracks.go), and by some of its pictures where that does not tell a still (still.go). The 8
//     likeliest films are looked at, and 8 more for as long as all of those are stills. A few frames of the
//     chosen one are decoded, and sound that cannot be decoded is left out. Tracks that nothing is made of
//     become warnings.
//  4. Meanwhile the index of an MP4 is read: how its keyframes stand, and what its edit lists do.
//     H.264 in a container without an index is remuxed to an MP4 in the scratch folder for that.
//  5. Meanwhile, too, it is measured how much picture there really is: by that index, where every sample
//     of an H.264 or HEVC track is found to be there and to look like one; else by reading the packets,
//     without decoding. Of a file above 1 GiB only the end is looked at, unless that is not where the
//     file claims.
//  6. The same times of frames give the frame rate: how far apart frames are, pauses left out (rate.go).
//
// A refusal is a finding: a completed job with VerdictReject. A fault of the machine is an error. A
// source of which a part cannot be read is accepted with Damaged set as long as one frame decodes.
//
// It does not decode the whole file, so damage in the middle shows only when a later worker meets it.
package inspect
