// Package quota holds projects to their quotas: what they may upload on a day, store, and have encoded in a
// month (access.Limits). It counts nothing by itself: use is what the read model adds up from the log.
//
// How it works, step by step:
//
//  1. Before the first byte of an upload, Admit refuses a project that has used up one of its quotas.
//  2. Reserve takes the bytes of the upload from those of the day, by compare-and-swap on a note of the
//     project, so that two uploads at once, in whatever processes, cannot both take the last ones. The size
//     is what the upload announces; one of unknown length takes more as bytes arrive, and is cut at the
//     limit. Release gives back what did not arrive.
//  3. How long a video is, and how large one that is fetched, is known when a job has looked at it. Judge
//     then adds up what the log has until that event: of two videos at once, the later one is refused. It
//     ends errored with quota_exceeded, and nothing of it is encoded.
//  4. At 80% of a quota, and when it is used up or something is refused, the log gets quota.warned and
//     quota.exceeded (access.TellQuota).
//
// Guarantees:
//
//   - What is uploaded on a day never exceeds the quota by more than was fetched from URLs while uploads were
//     open: the size of such a source is not known before.
//   - Minutes stored and encoded never exceed their quotas, as long as the limits stay as they are.
//
// Not guaranteed:
//
//   - An upload counts for the day on which it began in step 2, and for that on which it was completed in the
//     usage of the project.
//   - What a process reserved before it was killed stays reserved until the end of the day.
//   - The video's events are judged by the limits of that moment. A limit that is lowered ends no video that
//     a job of its plan has begun.
package quota
