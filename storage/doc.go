// Package storage is the contract between ReelMill and the place where its objects lie: uploads,
// renditions, manifests, thumbnails. It owns the interface, the errors, the shape of keys and the table
// of content types; it stores nothing itself and imports the standard library only.
//
// Two stores come with it, storage/disk (a folder) and storage/s3 (any S3 server). Both pass the suite in
// storage/storagetest, and so must a third.
//
// What every store guarantees:
//
//  1. Put is all or nothing. Whoever sees a key sees every byte; a reader that fails, a context that ends
//     or a process that dies leaves the key as it was.
//  2. After Put returns, the object survives a power cut (on S3: as far as the service promises).
//  3. A Get that has begun reads one version to its end, whatever is put or deleted meanwhile.
//  4. List is in byte order of the keys.
//  5. Every method may be called from many goroutines and, on one folder or bucket, from many processes.
//
// What no store guarantees:
//
//   - A List is no snapshot: a key put or deleted while it runs may or may not be in it.
//   - A store is not a lock. IfAbsent decides between writers of one key, and an ErrExists may be about
//     one's own earlier try whose answer was lost; compare-and-swap on the event log decides the rest.
//   - A Delete need not survive a power cut; deleting again is free, and the janitor does.
//   - The hash of an object is known when it is put, not later: whoever needs it keeps it in an event.
package storage
