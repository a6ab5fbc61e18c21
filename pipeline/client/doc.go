// Package client talks to the API of a ReelMill server. It uploads files so that no byte is sent twice, waits
// for videos, follows events, lists whatever the server has, and verifies webhooks. It returns the types of
// package pipeline.
//
//	mill := client.New("http://localhost:8080", nil)
//	video, err := mill.UploadFile(ctx, "film.mp4", client.Options{State: "film.mp4.upload"})
//	video, err = mill.WaitUntil(ctx, video.ID, client.Playable)
//
// # How it works
//
//  1. A call that fails for a reason that may pass is sent again: after a broken connection, 429, and 5xx
//     that somebody need not mend first. It waits longer each time, with jitter, and at least as long as
//     Retry-After says (call.go, Config.Retries).
//  2. A failed call may have taken effect, since the answer can be lost. So each POST has an Idempotency-Key
//     that all its tries share. The server answers the later ones as it did the first
//     (WithIdempotencyKey).
//  3. UploadFile asks the server which bytes it keeps, and sends the others in pieces (transfer.go). A file
//     remembers the upload for a later process (uploadmemory.go). Upload sends everything in one request
//     instead: that works for pipes, and takes an image as watermark.
//  4. Events and WaitUntil read an event stream, and reopen it after the last event that they have seen.
//  5. Videos, EventLog, DeadLetters and Uploads are iterators that fetch page after page.
//
// # Errors
//
// A refusal of the server is an *Error with a code, whether a repetition may help, and the id of the request
// in the server's log. Missing things are also pipeline.ErrNotFound. An error of the connection is one of
// net/http.
//
// Not guaranteed: that a call ends. Give it a context with a deadline.
package client
