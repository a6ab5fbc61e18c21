// Package thumbnail is the worker that makes the still pictures of a video:
//
//	thumbnail.jpg, thumbnail.webp  the poster: of several frames near 25% the sharpest that is not black
//	storyboard.jpg                 a sheet of at most 100 cells, 160 pixels high, one each max(1 s, length/100)
//	storyboard.vtt, .json          where each cell lies, as WebVTT with #xywh= and as JSON
//
// ffmpeg decodes and scales; disintegration/imaging sees only frames that ffmpeg wrote for us, and
// measures, assembles and stores them. Of a video above 8 minutes 20 the storyboard decodes key frames
// alone, so a cell may show what was a few seconds earlier.
//
// The WebP is left out where ffmpeg has no libwebp.
package thumbnail
