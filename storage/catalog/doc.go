// Package catalog is the read model: what the API answers, in SQL, folded from the event log. It owns one
// SQLite file, its schema (migrations/) and its queries; what a view holds is decided in package pipeline
// (view.go), and nothing here computes a field.
//
// A batch of events, step by step (Apply):
//
//  1. begin, taking the write lock (BEGIN IMMEDIATE), and read the sequence that the file stands at
//  2. leave out the events at or below it
//  3. fold each of the others into the views of its video and job, keep it in the video's event list, and
//     keep what it counts for in the statistics (a sample, of pipeline.SampleOf)
//  4. write the views, and move the sequence on, on condition that it still is what step 1 read
//  5. commit; then wake WaitFor and Changed
//
// What it guarantees:
//
//   - An event takes effect once, however often and in whatever batches it arrives, from however many
//     processes on one file. The answers are a function of the log up to Sequence and of nothing else.
//   - Statistics are the same before a video is deleted, after, and after a rebuild from a log that has lost
//     its events: video.deleted takes all that is kept of the video but its samples, and video.purged, which
//     stays in the log, lists them and replaces them.
//   - Whoever reads sees a whole batch or nothing of it. Readers do not wait for Apply, nor Apply for them.
//   - After a crash or a power cut the file is whole. It may stand at an earlier sequence: commits are not
//     synced one by one (synchronous=NORMAL), as the log has everything. So a projector starts behind
//     Sequence, and not where a consumer's acknowledgements end.
//   - An output is in the catalog while its job is completed, and only then.
//
// What it does not:
//
//   - It is not the truth and needs no backup. A file that is lost, damaged or newer than the program is
//     replaced (Replace) by one made from the log, which is what `reelmill rebuild` does.
//   - It cannot see a gap: an event that it was never given, while later ones were, is missing until the
//     next rebuild. Within a batch a late event is an error (ErrOrder). Whether the log that it is given has
//     gaps, or is another one, is for its owner to compare with Place and Held.
//   - Statistics are by the times that events carry, and late by as much as the catalog is behind the log;
//     Window.Complete tells it. Samples are kept for ever: some 15 small rows of a video.
//   - WaitFor and Changed are woken by this process's Apply only. Another process's is seen by every read,
//     but wakes nobody here.
//   - The file is not searched for damage when it is opened; that would read all of it. Damage that a
//     statement meets is reported as ErrDamaged.
//   - The file lies on a local disk: SQLite's WAL needs memory that all its processes share.
//
// A poison event, one whose subject or data cannot be decoded, does not stop the projection: it is left out
// whole, logged once as a warning with its sequence, and counted (Poisoned). Events of a video that the
// catalog does not know, because it was deleted, are left out in silence; both move the sequence on. An
// event of an unknown type is in the event list and has no other effect.
//
// The SQL is what SQLite and PostgreSQL have in common: $1 placeholders, ON CONFLICT, row values, documents
// as TEXT. Columns beside a document are what queries select and sort by, and what the JSON of a
// video leaves out: two sums, Owed, OwedPlayable and Generation.
//
// A migration that needs more of the events than the tables hold empties them and sets the sequence to 0: the
// projector then replays the log.
//
// Memory when idle: at most five connections of 0.5 MiB page cache each.
package catalog
