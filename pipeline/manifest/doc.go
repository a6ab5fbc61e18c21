// Package manifest owns how the renditions of a video are listed for players.
//
//  1. Track is one rendition's media as it is stored: an init section and numbered CMAF segments.
//  2. MediaPlaylist lists the segments of one track, Master the tracks of a video (RFC 8216).
//  3. Rates measures BANDWIDTH and AVERAGE-BANDWIDTH as Apple's authoring specification defines them.
//
// Every URI is relative, so that a tree plays from any base. It reads and writes no files: whoever calls
// has the tracks, and keeps the text.
package manifest
