// Package userimage reads pictures that users send, such as the image of a watermark. Every byte of them is
// hostile.
//
//  1. Inspect is the gate. It walks the structure of a JPEG, PNG or WebP while the bytes arrive: markers,
//     chunks and headers. It decodes nothing, inflates nothing, and allocates nothing by a size that the file
//     declares. It refuses a picture beyond the limits below; the Refusal names the limit and the value.
//
// Each limit stands for a real attack. A JPEG of 8 MB may have 120,000 scans, and each costs as much time as
// a whole picture. A PNG of 78 KB may declare 1x40,000,000 pixels, for which scaling needs 2.4 GB.
//
// Not guaranteed: that a picture which Inspect accepts can be decoded.
package userimage
