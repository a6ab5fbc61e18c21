// Package api is the HTTP edge of ReelMill: uploads in; videos, events and playback out. It owns the routes,
// the problem documents and the OpenAPI description. It keeps no state: it answers from the catalog, the
// progress and the store, and it changes things by one event in the log.
//
// An upload, step by step (upload.go):
//
//  1. The server refuses what it can without reading the body: when it is stopping or has no room, when the
//     body is announced as too long, and when too many uploads or videos are under way.
//  2. The form is read part by part (form.go). Files go straight to the store, each under a key that no
//     other try has. Fields that come before the video are checked before it is read.
//  3. The intake checks the whole request (intake.go, request.go).
//  4. pipeline.Accept writes the event to disk: from now on the video cannot be lost.
//  5. The server waits briefly until the catalog has the video, and answers 201. When the catalog is late,
//     it answers from the event.
//
// The intake does not know how bytes arrive. Another way in is a file beside form.go that calls it.
//
// A body in JSON names a URL instead of sending the file (fetch.go): then step 2 is a check of the URL, and a
// worker fetches the source after step 5.
//
// A request that ends before step 4 leaves no object. When nobody knows whether the event was written, the
// objects stay for the janitor: an object too many is harmless, a video without its source is not.
//
// An upload in pieces goes another way to step 4, if the store is a storage.Resumable (uploads.go):
//
//  1. POST /v1/uploads, or the creation of tus, checks everything that can be checked, and writes a document
//     beside the objects (uploaddoc.go). It fixes the id of the video. It is no event: the log holds videos.
//  2. The answer has URLs with a token, of which only a hash is kept. Whoever has one may send bytes, from
//     any page: by tus (tus.go, tusstore.go), or with one PUT (content.go). storage.Resumable keeps them.
//  3. Whoever sees that all bytes are kept makes the video (uploadfinish.go): the request with the last byte
//     before it is answered, a later HEAD, PATCH, PUT or GET, and a sweep each minute (uploadsweep.go). The
//     store makes an object of the bytes, pipeline.Accept writes the event, the document says completed. Each
//     may be repeated, so a crash between two of them, or a lost answer, costs nothing.
//  4. The sweep ends an upload without a byte for long, and forgets the documents of ended ones.
//
// One request at a time works on an upload; a later one ends one that waits for bytes (uploadlocks.go).
//
// A request to /v1 needs a credential, if the server asks for one (auth.go). The table needs (scopes.go) says
// for each route which scope it takes; the grant of the credential is in the context of the request.
//
// Before all that, the guard (guard.go) refuses what a web page of another site does through the browser of a
// person who can reach the server. Programs other than browsers pass it.
//
// What it guarantees:
//
//   - A 201 is durable.
//   - A 204 for the last bytes of an upload is as durable. An offset never promises bytes that a crash loses.
//   - With an Idempotency-Key, a repeated upload is one video: its id is derived from the key, and the log
//     admits one video.uploaded for that id. Keys do not expire. A second try need not wait for the first:
//     both are read, one event is written, and both get that video. The id is a hash of the key and does not
//     sort by time; lists are ordered by created_at.
//   - Every error is a problem document (RFC 9457) with a code of the table in codes.go. Every answer has
//     an X-Request-Id, which the log has too.
//   - An event stream has no gap. Its ids are sequences of the log: a reader that sends the last one back
//     gets what comes after it. Package live hands out the events; a reader that is too slow is cut off.
//   - Canceling, retrying and redriving may be repeated. Each is one event, and the answer is the state that
//     it led to. Redriving discards the dead letter last, so a redrive that was cut short can be repeated.
//   - A playable video has a master playlist: the packaged one or, until then, one made from the outputs of
//     completed jobs. A playlist only ever gets longer.
//   - Memory does not grow with the size of an upload, an output or a log.
//
// What it does not guarantee:
//
//   - A request that was let in is carried out, although its key is revoked meanwhile; only streams and reads
//     that wait end with their key.
//   - An upload token makes one upload, but whoever has it may make that one. What the upload's own URL
//     allows goes on when the token has ended.
//   - Playback of a video whose policy is public is for whoever knows its id, which has 80 random bits.
//   - The lock of an upload is one of the process. Between processes storage.ErrBusy refuses a second writer
//     (423), but nobody is asked to give up.
//   - The limits on videos under way are not exact: uploads that arrive together may exceed them. While a
//     limit is reached, a repeated upload is refused like a new one.
//   - job.progress events are live only: they have no id and are not sent again after a reconnect.
package api
