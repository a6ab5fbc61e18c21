// Package ffmpeg is the only place that builds, starts, watches and judges ffmpeg and ffprobe.
// It imports none of our other packages.
//
// What it owns:
//
//  1. Words: Command, Input and Output describe one ffmpeg call; Node, Chain, Link and Graph build its
//     filter graph from escaped values. Command.Args turns all of it into argv through ffmpeg-go, used as
//     an argv builder and never to run anything.
//  2. Hardening: every input gets the demuxer, decoder and protocol allow lists and the size limits of
//     security.md, a "file:" prefix unless it is a pipe from this process, and every output loses metadata
//     and chapters. No caller can leave them out, and the options that would weaken them are refused.
//  3. Processes: Tools.Run starts ffmpeg in a process group of its own, with an empty environment, reads
//     progress from a pipe of its own (fd 3), keeps a bounded, cleaned stderr tail, kills the whole group
//     on cancel or stall, and waits. When Run returns, its process and goroutines are gone. ffmpeg also
//     dies when we do (PDEATHSIG, Linux only).
//  4. Facts: Sniff names the container from magic bytes, Tools.Probe returns typed facts from a hardened
//     ffprobe, Tools.DurationByDecode measures files that declare no duration.
//  5. Judgement: Tools.VerifyFile and Tools.VerifyHLS say whether an output may be published. Exit codes
//     lie (a full disk and a truncated input both exit 0), so nothing is published without them.
//
// What it does not promise:
//
//   - It is no sandbox: the allow lists shrink the attack surface, a decoder bug still runs with the
//     rights of this process.
//   - It does not bound the total time of a run; the context does. Stall only catches a process that
//     does nothing (or spins without a report for ten times as long).
//   - The verify gate decodes the head and the tail, not every frame, unless Expect.FullDecode is set.
//   - Two runs of the same command need not give the same bytes.
//
// Everything that comes out of a media file (tags, codec names, messages) is untrusted text; here it is
// made valid UTF-8 without control characters, but it is not escaped for HTML, logs or shells.
package ffmpeg
