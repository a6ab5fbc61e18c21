// Package storage is the contract between ReelMill and the place that holds its objects: uploads,
// renditions, manifests, thumbnails. It owns the interface, the errors, the rules for keys and the table of
// content types. It stores nothing itself and imports the standard library only. The keys that a video uses
// are in pipeline/keys.go.
//
// Two stores implement it: storage/disk (a folder) and storage/s3 (any S3 server). Both pass the suite in
// storage/storagetest, and a third one must too.
//
// What every store guarantees:
//
//  1. Put is all or nothing. Whoever sees a key sees every byte. If a reader fails, a context ends or a
//     process dies, the key stays as it was.
//  2. After Put returns, the object survives a power cut (on S3: as far as the service promises).
//  3. A Get that has begun reads one version to its end, whatever is put or deleted meanwhile.
//  4. List yields keys in byte order.
//  5. Every method may be called from many goroutines and, on one folder or bucket, from many processes.
//
// What no store guarantees:
//
//   - A List is not a snapshot: a key put or deleted while it runs may or may not be in it.
//   - A store is not a lock. IfAbsent decides between writers of one key. ErrExists may come from the
//     caller's own earlier try, whose answer was lost. Compare-and-swap on the event log decides the rest.
//   - A Delete need not survive a power cut. Deleting again is free, and the janitor does it.
//   - A store reports the hash of an object at its Put only: whoever needs it later keeps it in an event.
package storage
