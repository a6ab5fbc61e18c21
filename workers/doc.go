// Package workers owns what a worker is and how it is run: the contract (worker.go, job.go), the worker types
// of a process (registry.go), and the loop that takes tasks and runs attempts (loop.go, attempt.go).
//
// What happens to a task, in this order:
//
//  1. A slot asks whether it may take tasks at all, and takes one (loop.go).
//  2. The attempt rule decides what to do, from the last event of the task's job and the state of its video
//     (rule.go).
//  3. The attempt waits until scratch has room for it (scratch.go) and its turn has come (admit.go).
//  4. It writes job.started. The sequence of that event is its token, under which it stores its outputs
//     (attempt.go).
//  5. The worker works in a directory of its own (workspace.go), while the attempt renews its lease
//     (lease.go) and watches whether the job is still wanted (watch.go).
//  6. The gate checks that the outputs are in the store (gate.go).
//  7. The attempt writes its outcome, and only then acknowledges the message (outcome.go).
//
// An attempt that ends without an outcome is seen by the next delivery of its message, and a crash of the
// process by its next start (crash.go). Not guaranteed: that a job runs once. It completes once.
//
// A worker is one folder and one line in workers/all. It knows parameters, media and files; it knows nothing
// of messages, acknowledgements, retries or other workers. A worker that hides the source, or that takes a
// file or parameters of an upload, declares that (Declarer), and planner and API act on it.
package workers
