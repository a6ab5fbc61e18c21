// Package watermark is the worker that makes a progressive copy of a video with an image or a text burnt in:
// watermarked.mp4, H.264 and AAC, at most 1080p, made for quick start. The ladder beside it stays clean.
//
//  1. The mark is drawn here, to a PNG of the very size it has in the picture (mark.go): ffmpeg reads
//     pixels that we wrote and two whole numbers for the place, so nothing of a user's reaches a filter
//     string.
//  2. An image is a user's file. It must be JPEG, PNG or WebP by its first bytes and of at most 40
//     megapixels by its header before it is decoded, under a recover, and it is converted to NRGBA before
//     imaging sees it.
//  3. A text is set in Go Regular (golang.org/x/image/font/gofont), white with a dark shadow. It is in the
//     program, so no font of the machine is needed and every machine draws the same. It has Latin, Greek
//     and Cyrillic letters; a text with any other is refused with the letter's name, rather than drawn as
//     boxes.
//
// Sizes are shares of the picture's width, so that every size of a video looks alike.
package watermark
