// Package userimage reads pictures that users send, such as the image of a watermark. Every byte of them is
// hostile.
//
//  1. Inspect is the gate. It walks the structure of a JPEG, PNG or WebP while the bytes arrive: markers,
//     chunks and headers. It decodes nothing, inflates nothing, and allocates nothing by a size that the file
//     declares. It refuses a picture beyond the limits below; the Refusal names the limit and the value.
//
//  2. Decoder opens the gate, and then decodes the picture in a process of its own, a Task in a cage (package
//     sandbox). The child has the open file, standard output, and limits of memory and processor time. It
//     scales the picture, and answers with the pixels only. It dies with this process, and when its context
//     ends.
//
//  3. The answer must be a picture of exactly the size that was asked for, since a decoder may have been
//     taken over.
//
// A child that runs out of processor time or memory, or crashes, gives a Refusal that says so. Any other
// failure is one of the machine.
//
// Each limit stands for a real attack. A JPEG of 8 MB may have 120,000 scans, and each costs as much time as
// a whole picture. A PNG of 78 KB may declare 1x40,000,000 pixels, for which scaling needs 2.4 GB.
//
// Not guaranteed: that a picture which Inspect accepts can be decoded; and that a machine ten times slower
// decodes the largest pictures, since the limit is processor time.
package userimage
