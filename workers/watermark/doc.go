// Package watermark is the worker that makes a progressive copy of a video with an image or a text burnt in:
// watermarked.mp4, H.264 and AAC, at most 1080p, with its index in front. The ladder has no mark.
//
//  1. This worker draws the mark into a PNG of its size in the video (mark.go). ffmpeg only gets that PNG and
//     two whole numbers for its place, so no user input reaches a filter string.
//  2. An image is a user's file. Package userimage refuses one outside the limits, both when it is uploaded
//     and here, and decodes and scales it in a process of its own. This process sees only the scaled pixels.
//  3. A text is set in Go Regular (golang.org/x/image/font/gofont), white with a dark shadow. The font is
//     built into the program, so every machine draws the same. It has Latin, Greek and Cyrillic letters; a
//     text with any other letter is refused, and the error names the letter.
//
// Sizes are shares of the video's width, so that the mark looks the same at every size.
package watermark
