// Package hls owns the form in which renditions are stored: CMAF tracks cut into an init section and numbered
// segments. Cut takes a fragmented MP4 that ffmpeg wrote and cuts it by box: nothing is rewritten, so joining
// the pieces gives the fragments back byte for byte. How they are listed is package manifest's.
package hls
