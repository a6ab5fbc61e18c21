// Package guard shields the users of a storage.Store from its faults: it retries what failed, and stops
// trying for a while when nearly everything fails. It can wrap any store.
//
// One operation, step by step:
//
//  1. Ask the circuit breaker. While it is open, the operation fails at once with ErrOpen.
//  2. Try the store, and report the result to the breaker.
//  3. After a failure, wait, longer each time and with jitter, and go back to 1: up to Config.Tries tries,
//     none of which begins more than Config.Patience after the first failure.
//
// A failure is any error except the contract's own (ErrNotFound, ErrExists, ErrRange, ErrKey, ErrSize,
// ErrFull, ErrOffset, ErrChecksum, ErrBusy), the end of the caller's context, and an error of the caller's
// reader. Those end the operation at once and pass unchanged. The guard does not wait for space on a full
// medium: the job's own delays are longer.
//
// The breaker counts tries, not operations. It opens when at least Config.MinTries tries ended within
// Config.Window and at least Config.FailureRatio of them failed. After Config.Pause it is half-open: the
// next caller stats a probe key, which need not exist, Config.Probes times, and if the store answers each
// time, the breaker closes. So nobody ever waits for an hour-long upload that happens to be the probe.
//
// Each operation adds:
//
//   - Put is retried only if its reader is an io.Seeker that can go back to where it began, such as an
//     *os.File or a *bytes.Reader; otherwise there is one try. For IfAbsent see Guard.Store.
//   - Get returns a reader that resumes: when it breaks or ends early, it requests the rest as a new range,
//     at most Config.Resumes times.
//   - List starts over after a failure and skips what it has already yielded.
//   - Begin, Kept, Finish and Abandon of a Resumable are retried. Append is tried once: after a failure the
//     caller asks Kept what the store has.
//   - DeletePrefix and Reclaim work with any store. The number they return may be too low after a lost
//     answer.
//
// Not guaranteed: a limit on how long one try takes; the store and the context set that. A resumed reader
// checks size and modification time to stay on one version. It does not notice a replacement of the same
// size within the resolution of the store's clock (a second on S3).
package guard
