// Package thumbnail is the worker that makes the still pictures of a video, by two jobs:
//
//	poster      thumbnail.jpg, thumbnail.webp  the sharpest of some key frames near 25% that is not black;
//	                                           if all are black, of frames from the whole length
//	storyboard  storyboard.jpg                 a sheet of at most 100 cells, 160 pixels high, one each
//	                                           max(1 s, length/100)
//	            storyboard.vtt, .json          where each cell is, as WebVTT with #xywh= and as JSON
//
// People wait for the poster. The storyboard yields to other work on the machine, and decodes no more than
// its cells need. It decodes only key frames when they are close enough, or when their distance is unknown
// and the video is longer than 8 minutes 20. So a cell may show what was a few seconds earlier.
//
// ffmpeg decodes and scales. disintegration/imaging reads only frames that ffmpeg wrote; it measures,
// assembles and stores them.
//
// There is no WebP when ffmpeg has no libwebp.
package thumbnail
