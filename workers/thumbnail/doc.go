// Package thumbnail is the worker that makes the still images of a video, by two jobs:
//
//	poster      thumbnail.jpg, thumbnail.webp  the sharpest of some key frames near 25% that are not black;
//	                                           if all are black, frames from the whole length are tried
//	storyboard  storyboard.jpg                 a sheet of at most 100 cells, 160 pixels high, one for every
//	                                           max(1 s, length/100)
//	            storyboard.vtt, .json          where each cell is, as WebVTT with #xywh= and as JSON
//
// People wait for the poster. The storyboard yields to other work on the machine, and decodes no more than
// its cells need. It decodes only key frames if they are close enough, or if their distance is unknown and
// the video is longer than 8 minutes 20 seconds. Then a cell may show a frame from a few seconds earlier.
//
// ffmpeg decodes and scales. disintegration/imaging only reads frames that ffmpeg wrote; it measures,
// assembles and stores them.
//
// Without libwebp in ffmpeg there is no WebP.
package thumbnail
