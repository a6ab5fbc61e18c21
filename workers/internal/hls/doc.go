// Package hls owns the form in which renditions are stored: CMAF tracks cut into an init section and
// numbered segments. Cut takes a fragmented MP4 of one track and cuts it by box. Nothing is rewritten but,
// where it is told to, the composition offsets of pictures: in the form in which renditions are stored none
// is negative, and an edit list in the init section takes back what that adds (Advance). How segments are
// listed is package manifest's.
package hls
