// Package catalog is the read model: the API's answers, in SQL, folded from the event log. It owns one
// SQLite file, its schema (migrations/) and its queries. Package pipeline (view.go) decides what a view
// holds; nothing here computes a field.
//
// A batch of events, step by step (Apply):
//
//  1. Begin with the write lock (BEGIN IMMEDIATE) and read the sequence of the file.
//  2. Skip the events at or below it.
//  3. Fold each of the others into the views of its video and job, add it to the video's event list, and
//     store its samples for the statistics (pipeline.SampleOf).
//  4. Write the views, and move the sequence if it still is what step 1 read.
//  5. Commit, then wake WaitFor and Changed.
//
// Guarantees:
//
//   - An event takes effect once, however often, in whatever batches and from however many processes it
//     comes. The answers are a function of the log up to Sequence and of nothing else.
//   - Statistics are the same before a video is deleted, afterwards, and after a rebuild from a log without
//     its events: video.deleted removes everything about the video but its samples, and video.purged, which
//     stays in the log, lists them again.
//   - A list of videos finds them by an index, and all but a search for text walks that index in the order
//     of the list (list.go). The tables for searches (search.go) are a function of the videos' documents.
//   - A reader sees a whole batch or nothing of it. Readers do not wait for Apply, nor Apply for them.
//   - After a crash or a power cut the file is whole, perhaps at an earlier sequence: commits are not
//     synced one by one (synchronous=NORMAL), since the log has everything. So a projector starts after
//     Sequence, not where a consumer's acknowledgements end.
//   - History has video.deleted and video.purged of every deleted video, in the order of the log with the
//     events of the others. A catalog of a schema before 5 lacks those that it applied before the migration,
//     until it is made anew.
//   - The catalog has an output while its job is completed, and only then.
//
// Not guaranteed:
//
//   - The catalog is not the truth and needs no backup. If the file is lost, damaged or newer than the
//     program, `reelmill rebuild` makes one from the log and replaces it (Replace).
//   - It cannot detect a gap: an event that it never got, while it got later ones, is missing until the
//     next rebuild. Within a batch a late event is an error (ErrOrder). Its owner checks with Place and
//     Held whether the log has gaps, or is another one.
//   - Statistics go by the times in the events, and are as late as the catalog is behind the log (see
//     Window.Complete). Samples are kept for ever: about 15 small rows per video.
//   - Only this process's Apply wakes WaitFor and Changed. Reads see what another process applied, but it
//     wakes nobody here.
//   - Open compares the file with what it was when it was closed (sum.go). After a crash it compares nothing,
//     and a changed byte in a text is not noticed. A statement that meets damage returns ErrDamaged.
//   - The file must be on a local disk: SQLite's WAL uses memory shared by all its processes.
//
// A poison event, whose subject or data cannot be decoded, does not stop the projection: the catalog skips
// it, logs one warning with its sequence, and counts it (Poisoned). It silently skips events of a video
// that it does not know, because the video was deleted. Both move the sequence. An event of an unknown type
// is in the event list and has no other effect.
//
// The SQL is what SQLite and PostgreSQL have in common, but for video_grams, a table of FTS5: $1
// placeholders, ON CONFLICT, row values, documents as TEXT. The columns beside a document are those that
// queries select and sort by, and the fields that a video's JSON omits: two sums, Owed, OwedPlayable and
// Generation.
//
// A migration that needs more of the events than the tables hold empties the tables and sets the sequence
// to 0. Then the projector replays the log.
//
// Memory when idle: at most five connections with 0.5 MiB page cache each.
package catalog
