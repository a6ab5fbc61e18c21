// Package api is the HTTP edge of ReelMill: uploads in; videos, events and playback out. It owns the
// routes, the problem documents and the OpenAPI description, and no state: what it answers is read from the
// catalog, the progress and the store, and what it changes is one event in the log.
//
// An upload, step by step (upload.go):
//
//  1. refuse what can be refused unread: a server that stops, no room, a body announced as too long, too many
//     uploads at once, too many videos that have not ended
//  2. read the form part by part; the file goes straight to the store, under a key that no other try has
//  3. check the fields; unknown pipelines and the like are refused before the file when they come before it
//  4. pipeline.Accept: the event is on disk, and the video can no longer be lost
//  5. wait briefly for the catalog to know it, and answer 201; when it is late, answer from the event
//
// A request that ends before step 4 leaves no object. One whose event may or may not have been written
// leaves its objects for the janitor: an object too many is harmless, a video without its source is not.
//
// What it guarantees:
//
//   - A 201 is durable.
//   - With an Idempotency-Key, a repeated upload is one video: the id is derived from the key, and the log
//     admits one video.uploaded for it. There is no window of time. A key is not refused while its first
//     request is under way: both are read, one event is written, and both get that video, so a client that
//     lost its connection may try again at once. Such an id is made of the hash of the key, and has no order;
//     lists are ordered by created_at.
//   - Every answer that is an error is a problem document (RFC 9457) with a code of the table in
//     problem.go, and every answer has an X-Request-Id that is in the log too.
//   - An event stream has no gap: its ids are sequences of the log, and a reader that sends the last one
//     back gets what comes after it.
//   - Canceling, retrying and redriving may be repeated: each is one event, and the answer is the state that
//     it led to. A dead letter is discarded last, so one that is lost sight of is there still.
//   - A video that is playable has a master playlist: the one that was packaged or, until then, one of what
//     completed jobs have stored. A playlist only ever gets longer.
//   - Memory does not grow with the size of an upload, an output or a log.
//
// What it does not:
//
//   - There is no authentication yet. Config.Project is where it will say whose request it is.
//   - Playback is public to whoever knows the id of a video, which has 80 random bits.
//   - The limits on videos under way are not exact: uploads that come at once may pass them together. A
//     repeated upload is refused like a new one while they are reached.
//   - job.progress events are live only: no id, and none after a reconnect.
package api
