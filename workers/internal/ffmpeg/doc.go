// Package ffmpeg is the only place that builds, starts, watches and judges ffmpeg and ffprobe. It imports
// none of our other packages.
//
// It owns:
//
//  1. Commands: Command, Input and Output describe one ffmpeg call; Node, Chain, Link and Graph build its
//     filter graph from escaped values. Command.Args turns them into argv with ffmpeg-go, which only builds
//     argv and never runs anything.
//  2. Hardening: every input gets allow lists of demuxers, decoders and protocols, size limits, and a
//     "file:" prefix unless it is a pipe from this process. Every output loses metadata and chapters. No
//     caller can leave these out; options that would weaken them are refused.
//  3. Processes: Tools.Run starts ffmpeg in its own process group with an empty environment, reads progress
//     from its own pipe (fd 3), keeps a limited, cleaned tail of stderr, kills the whole group when the
//     context ends or ffmpeg stalls, and waits. When Run returns, its process and goroutines are gone.
//     ffmpeg also dies with us (PDEATHSIG, Linux only).
//  4. Facts: Sniff names the container from magic bytes, Tools.Probe returns typed facts from a hardened
//     ffprobe.
//  5. Verification: Tools.VerifyFile and Tools.VerifyHLS decide whether an output may be published. Exit
//     codes are not enough (a full disk and a truncated input both exit 0), so nothing is published without
//     them.
//
// Not guaranteed:
//
//   - Without a sandbox.Cage it is none. The allow lists reduce the attack surface, but a decoder bug then
//     has the rights of this process.
//   - Stall only catches a process that does nothing, or runs ten times as long without a report. One that
//     reports and sleeps lives until Wall.
//   - The verify gate decodes the head and the tail, not every frame, unless Expect.FullDecode is set.
//   - Two runs of the same command need not give the same bytes.
//
// All text from a media file (tags, codec names, messages) is untrusted. This package makes it valid UTF-8
// without control characters, but does not escape it for HTML, logs or shells.
package ffmpeg
