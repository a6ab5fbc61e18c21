// Package hls owns the form in which renditions are stored: CMAF tracks cut into an init section and
// numbered segments. Cut takes a fragmented MP4 of one track and cuts it at its boxes. It rewrites nothing
// except, on request, the composition offsets of pictures: stored renditions have no negative ones, and an
// edit list in the init section makes up for the difference (Advance). Package manifest lists the segments.
package hls
