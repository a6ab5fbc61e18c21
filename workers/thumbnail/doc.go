// Package thumbnail is the worker that makes the still pictures of a video, by two jobs:
//
//	poster      thumbnail.jpg, thumbnail.webp  the sharpest of some key frames near 25% that is not black;
//	                                           where all are, of frames from the whole length
//	storyboard  storyboard.jpg                 a sheet of at most 100 cells, 160 pixels high, one each
//	                                           max(1 s, length/100)
//	            storyboard.vtt, .json          where each cell lies, as WebVTT with #xywh= and as JSON
//
// The poster is what people wait for. The storyboard yields to other work on the machine, and decodes no more
// than its cells need: key frames alone where they are near enough, or where that is not known and the video
// is longer than 8 minutes 20, so a cell may show what was a few seconds earlier.
//
// ffmpeg decodes and scales; disintegration/imaging sees only frames that ffmpeg wrote for us, and measures,
// assembles and stores them.
//
// The WebP is left out where ffmpeg has no libwebp.
package thumbnail
