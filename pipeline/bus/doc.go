// Package bus is the pipeline's messaging on NATS JetStream: the event log, the queue of tasks with timed
// retries, dead letters, progress, and presence of workers. It imports pipeline and knows nothing of workers,
// storage or HTTP.
//
// # Mechanism
//
//  1. Everything that must have one winner is a compare-and-swap on a subject (the header
//     Nats-Expected-Last-Subject-Sequence): the next event of a subject, the one task of a job, the one dead
//     letter.
//  2. A publish whose answer is lost is sent again; the conflict that the second one meets is resolved by
//     looking at what is stored, so a lost answer never shows as a failure.
//  3. Tasks stand in a work queue: an ack removes them. Retries are scheduled messages in the same stream,
//     which the server turns into tasks when they are due.
//  4. One durable pull consumer per worker type and priority. Stored tasks are republished, headers only, to
//     bell.>: a doorbell, so that nobody polls faster than once a second.
//  5. Events are republished to live.>, for those who watch.
//
// # Guarantees
//
//   - What Append, Enqueue, Schedule and DeadLetter returned nil for is stored; on disk when the server syncs
//     always, which the embedded one does, and on a majority of replicas in a cluster.
//   - Last sees every Append that returned before it was called, by whichever process. In a cluster, a leader
//     that is cut off may answer from the past for the seconds until it steps down; what is decided on that
//     fails its compare-and-swap.
//   - A task is delivered again until it is acknowledged.
//   - Follow hands over every event once per run, in order, without gaps.
//
// Not given: delivery once (a lease that runs out, a lost ack and a restart all deliver again, so handlers
// are idempotent); order between tasks; fairness between the lanes of a priority, which are served by age;
// doorbells, progress and presence after a crash (they are hints, and are polled for or said again).
package bus
