// Package bulk redrives or discards many dead letters at once, in the background.
//
// # Mechanism
//
//  1. Plan reads the dead letters of a project and counts those that a filter selects. That is the dry run.
//  2. Start stores a Run: what to do with which letters, why, and the last letter that there was. So letters
//     that come later, such as those of a redriven job that fails again, are not part of the run.
//  3. Each server has a Runner. One of them leads a run: it writes its name into it by compare-and-swap. It
//     writes which letter is next before it acts on it, and what became of it with the write for the next
//     one.
//  4. A server that sees no write of the leader for a while takes over. It begins with the letter that the
//     leader was about to act on: one that is gone is done.
//  5. Pause, Resume and Cancel change the state in the run. The leader sees it before the next letter.
//  6. Before a letter is redriven, the leader waits while many tasks wait for its worker type, so that the
//     run does not delay other videos.
//
// # Guarantees
//
//   - A job is redriven at most once for a letter, whoever leads, and however often they die:
//     pipeline.RedriveLetter compares with the letter's event.
//   - A run that completes has acted on each letter that it counted and that nobody else removed.
//   - Total = Done + Failed + Skipped + Remaining, at all times.
//
// Not guaranteed: that Done and Skipped are told apart when somebody else removes a letter at the moment when
// the leader dies.
package bulk
