// Package s3 is a storage.Store in a bucket of any S3 server, by way of minio-go. It owns the mapping
// between the contract and that protocol; signing, retries (ten, with back-off and jitter) and transport
// are the library's.
//
// A Put, step by step:
//
//  1. With IfAbsent, stat the key: saves an upload in vain, and is all there is on a server that ignores
//     If-None-Match.
//  2. Read up to one part (16 MiB unless Config.PartSize says otherwise) into memory. If that was all of
//     it, check the size and send one PUT with the SHA256 of the body in the signature. So a reader that
//     fails early never reaches the server, and every retry sends the same bytes.
//  3. Otherwise send part by part, each with its SHA256, and complete the upload after the reader's end
//     and the size are checked. On any error the upload is aborted, in at most 30 seconds that outlast the
//     context.
//  4. With IfAbsent, the PUT or the completion carries If-None-Match: *. (minio-go's own multipart upload
//     drops it there, which is why parts are sent one by one here.)
//
// One Put holds one part in memory (while the buffer grows to it, a quarter more). An upload has
// at most 10,000 parts, so an object of unknown size ends at 10,000 parts of 16 MiB, which is 156 GiB; for a
// larger known size the parts grow.
//
// A write that the server answers with 409, "another was in the way", is sent again, five times in all.
//
// Not given: IfAbsent between concurrent writers on a server without conditional writes (AWS documents
// them since 2024, versitygw is tested here). A process killed in step 3 leaves parts that cost money:
// Reclaim removes them, and so does a lifecycle rule on the bucket.
package s3
