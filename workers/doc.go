// Package workers owns what a worker is and how any worker is run: the contract (worker.go), the types that a
// process knows (registry.go), and the loop that takes tasks and carries each through the attempt rule
// (loop.go, rule.go).
//
// A worker is one folder and one line in workers/all. It knows parameters, media and files; it knows nothing
// of messages, acknowledgements, retries or other workers.
package workers
