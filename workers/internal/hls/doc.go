// Package hls owns the form in which renditions are stored and listed: CMAF tracks cut into an init section
// and numbered segments, and the playlists of RFC 8216 over them.
//
//  1. Cut takes a fragmented MP4 that ffmpeg wrote and cuts it by box: nothing is rewritten, so joining the
//     pieces gives the fragments back byte for byte.
//  2. MediaPlaylist lists the segments of one track, Master the tracks of a video.
//  3. Rates measures BANDWIDTH and AVERAGE-BANDWIDTH as Apple's authoring specification defines them.
//
// Every URI is relative, so that the tree plays from any base. The text is written by Eyevinn/hls-m3u8 and
// read back here before it is used.
package hls
