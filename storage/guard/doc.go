// Package guard keeps the faults of a storage.Store from those who use it: it tries again what failed, and it
// stops trying for a while when nearly everything fails. It wraps any store and knows none.
//
// One operation, step by step:
//
//  1. The circuit breaker is asked. While it is open, the operation ends at once with ErrOpen.
//  2. The store is tried, and the breaker is told how it went.
//  3. A failure is waited out, longer each time and by chance more or less, and it goes on at 1: up to
//     Config.Tries tries, and none that begins more than Config.Patience after the first failure.
//
// What is a failure: any error but the contract's own (ErrNotFound, ErrExists, ErrRange, ErrKey, ErrSize,
// ErrFull), the end of the caller's context and an error of the caller's reader. Those end the operation at
// once, as they are. A full medium is left to whoever can wait for longer: the job's own delays.
//
// The breaker counts tries, not operations. It opens when at least Config.MinTries tries ended within
// Config.Window and the share of failures was Config.FailureRatio or more. After Config.Pause it is
// half-open: whoever comes next looks for an object that need not be there, Config.Probes times, and when the
// store answers each time the breaker is closed. An upload of an hour is never a probe that others wait for.
//
// What each operation adds:
//
//   - Put is tried again only if its reader is an io.Seeker that goes back to where it began, such as an
//     *os.File or a *bytes.Reader; else there is one try. For IfAbsent see Guard.Store.
//   - Get gives a reader that heals itself: when it breaks or ends early, the rest is got by a new range,
//     Config.Resumes times at most.
//   - List begins anew after a failure and passes over what it has yielded.
//   - DeletePrefix and Reclaim are there whatever the store can; the number they return may be too low when
//     an answer was lost.
//
// Not given: a bound on how long one try takes, which is the store's and the context's part. A healed reader
// is of one version as far as size and time of change tell; an object replaced by one of the same size within
// the resolution of the store's clock (a second on S3) is not noticed.
package guard
