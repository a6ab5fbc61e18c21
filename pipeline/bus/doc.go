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
//  4. A priority has eight lanes, and a project stands in one. There is one durable pull consumer per worker
//     type, priority and lane, made when something is first known to wait there. Within a priority each
//     process takes from the lanes in turn.
//  5. Stored tasks are republished, headers only, to bell.>: a doorbell that names the lane, and that a task
//     which is given back rings, too. What rings none (a lease that ran out, a return with a delay, a task
//     that was there before) is found by a look at the queue every two seconds. So a lane is pulled only when
//     something may wait in it, and an idle worker type costs one small request in two seconds. Callers who
//     take high priority only, and those who take all, wait in lines of their own (lanes.go).
//  6. Events are republished to live.>, for those who watch.
//  7. Dead letters are a stream of their own; the id of one is its place there. A message of the queue that
//     is no task goes there as it is.
//
// # Guarantees
//
//   - What Append, Enqueue, Schedule and DeadLetter returned nil for is stored; on disk when the server syncs
//     always, which the embedded one does, and on a majority of replicas in a cluster.
//   - Last sees every Append that returned before it was called, by whichever process. In a cluster, a leader
//     that is cut off may answer from the past for the seconds until it steps down; what is decided on that
//     fails its compare-and-swap.
//   - A task is delivered again until it is acknowledged or withdrawn.
//   - Between two tasks that a process takes from a lane which is not empty, it takes at most one from each
//     other lane of the priority.
//   - Follow hands over every event that was not purged, once per run, in order; Replay those up to one.
//   - An Audit finds every event that is gone from the log and that no deletion removed, and no other.
//   - Who calls Watch, reads, and reads again at every ring, misses no last event of what it watches.
//   - History and what Purge leaves are those of one video, and read nothing of others.
//
// Not given: delivery once (a lease that runs out, a lost ack and a restart all deliver again, so handlers
// are idempotent); order between tasks; fairness between projects that share a lane, which is served by age;
// doorbells, progress and presence after a crash (they are hints, and are polled for or said again).
package bus
