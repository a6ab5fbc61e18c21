// Package workers owns what a worker is and how any worker is run: the contract (worker.go), the types that a
// process knows (registry.go), and the loop that takes tasks and carries each through the attempt rule
// (loop.go, rule.go).
//
// Of one task, in this order:
//
//  1. A slot asks whether tasks may be taken at all, and takes one (loop.go).
//  2. The task is judged by the last event of its job and the state of its video (rule.go, run.go).
//  3. It is begun when scratch has room for it and it is its turn (admit.go).
//  4. job.started is won, and with its sequence the token under which all is written (run.go).
//  5. The worker works, while its lease is renewed and a bell tells when nobody wants it any more (watch.go).
//  6. What came of it is written, and only then the message is acknowledged (outcome.go).
//
// What ended without a word is seen by the next delivery, and a crash of the process by its next start
// (crash.go). Not given: that a job is worked on once. It completes once.
//
// A worker is one folder and one line in workers/all. It knows parameters, media and files; it knows nothing
// of messages, acknowledgements, retries or other workers.
package workers
