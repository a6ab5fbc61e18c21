// Package live hands the events of the log to those who wait for them: event streams, WebSockets and reads
// that wait. A Hub is one for the process. It owns the only reader of new events in the read model, and the
// buffers of its feeds.
//
// How an event gets to a feed, step by step:
//
//  1. The read model applies a batch of events and closes Changed. The hub's reader reads what is new, once
//     for all feeds, in the order of the log.
//  2. It encodes each event that some feed wants, once, and appends a pointer to it to the buffers of these
//     feeds. It finds them by the video, so an event costs nothing for a feed of another video.
//  3. It wakes them. The owner of a feed takes all of its buffer at once (Feed.Next).
//
// How a feed begins in the past without a gap and without a double:
//
//  1. It reads pages of the read model after its cursor, until less than a page is missing.
//  2. It joins the hub. From that moment its buffer gets every event above a place, which the hub tells it.
//  3. It reads the rest, up to that place, and then its buffer.
//
// The reader starts with the first feed that joins, and stops with the last that leaves. With none, nothing
// is read.
//
// Guarantees:
//
//   - A feed gets each event that it wants once, in the order of the log, whose sequences are the cursors. A
//     feed that begins after the last event that another got, also in a later process, continues it.
//   - Whoever has got an event reads at least its state from the read model.
//   - A feed's buffer is bounded, and empty takes no memory. The reader of events gives slow feeds a moment,
//     and then cuts off those whose buffers are full (ErrSlow); it never waits for one of them.
//   - A cursor beyond the log is refused (ErrAhead): it comes from another log.
//
// Not guaranteed:
//
//   - Of a deleted video, a feed that was not quick gets only video.deleted and video.purged, as in the read
//     model's History.
//   - Progress is not in the log: a feed gets the last report of each job, and perhaps not that.
//   - An event that the read model left out, because it could not decode it, reaches no feed.
package live
