// Package s3 is a storage.Store in a bucket of any S3 server, through minio-go. It owns the mapping between
// the contract and that protocol; the library signs, retries (three times, with back-off and jitter) and
// transports.
//
// A Put, step by step:
//
//  1. With IfAbsent, stat the key. This saves a vain upload, and is the only check on a server that ignores
//     If-None-Match.
//  2. Read up to one part (16 MiB unless Config.PartSize says otherwise) into memory. If that was all,
//     check the size and send one PUT with the SHA256 of the body in the signature. So a reader that fails
//     early never reaches the server, and every retry sends the same bytes.
//  3. Otherwise send part by part, each with its SHA256, and complete the upload once the reader has ended
//     and the size is right. On any error, abort the upload; that may take 30 seconds, even after the
//     context has ended.
//  4. With IfAbsent, the PUT or the completion carries If-None-Match: *. (minio-go's own multipart upload
//     drops that header, so this package sends the parts itself.)
//
// One Put holds one part in memory, and a quarter more while the buffer grows. An upload has at most 10,000
// parts, so an object of unknown size can have 156 GiB (10,000 parts of 16 MiB). For a larger known size
// the parts grow.
//
// A write that the server answers with 409 (a concurrent write was in the way) is tried five times in all.
//
// An unfinished object of storage.Resumable has a state, an object below .partial/ that no method shows. It
// names a multipart upload, the parts sent, the pieces (objects with bytes that do not fill a part) and the
// SHA-256 so far. An Append, step by step:
//
//  1. Read the state. The bytes kept are those that it names.
//  2. Read until a part is full: 8 MiB, or more for an object above 70 GiB.
//  3. Reserve the next part number in the state, send the part, and write the state that names it. Nobody
//     sends another part under the number, so a process that was believed dead cannot overwrite a part.
//  4. Store the bytes that are left as a piece, together with earlier pieces that are not larger. Write
//     the state that names it, and then remove the pieces that it names no more.
//
// So a kill loses at most the part that is read or sent, and leaves bytes for Reclaim. Finish sends the last
// part and completes the upload; without any part it puts the object whole. Every write of the state is a
// compare-and-swap by If-Match: of two processes that write one object, the later comer wins, and the other
// gets ErrBusy. On a server that ignores If-Match, two processes must not write one unfinished object at
// once; within one process they cannot. A rule of the bucket that aborts old uploads must leave them the
// time that an unfinished object may take.
//
// An object whose parts clients send to the bucket themselves (storage.MultipartPresigner) has another state
// below .partial/, which names its multipart upload and no parts: those the server lists. Each URL has the
// length of its part in the signature. The completion compares the ETags of the parts just listed, so what is
// sent meanwhile cannot slip in. A mark in the state, set before, tells the object of this upload from an
// older one when the answer is lost. A kill before the state is written leaves an upload for Reclaim.
//
// Not guaranteed: IfAbsent between concurrent writers on a server without conditional writes (AWS documents
// them since 2024; the tests use versitygw). A process killed in step 3 leaves parts that cost money:
// Reclaim removes them, and so does a lifecycle rule of the bucket.
package s3
