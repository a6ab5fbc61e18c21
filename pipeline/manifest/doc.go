// Package manifest writes the playlists that list the renditions of a video for players.
//
//  1. Track is one rendition's media as it is stored: an init section and numbered CMAF segments. A job that
//     makes segments leaves the tracks of its runs in an index (index.go).
//  2. media.go lists the segments of one track and its keyframes, master.go the tracks of a video (RFC 8216).
//  3. Rates measures BANDWIDTH and AVERAGE-BANDWIDTH as Apple's authoring specification defines them.
//  4. dash.go lists the same segments for DASH players (ISO/IEC 23009-1).
//  5. Growing lists what can be played while the video is still being made, from the outputs of completed
//     jobs: the same playlists, up to the last segment that exists.
//  6. Package writes all playlists of a video whose renditions are complete.
//
// A parser reads every text back before it is returned, and compares it with what was meant. Every URI is
// relative, so that a tree plays from any base. The package reads and writes no files: callers bring tracks
// or outputs, and store the text.
package manifest
