// Package bus is the pipeline's messaging on NATS JetStream. It imports pipeline and knows nothing of
// workers, storage or HTTP.
//
// # Map
//
// The bus is three things, each with files of its own:
//
//   - log_*.go, the event log: append events and read the last ones (append, batch), keep room for what must
//     still be appended (room), hand events to coordinators (coordinate, pending) and read models (follow,
//     scan), read or purge one video (history, owner), find losses (extent), and signal new events (watch).
//   - queue_*.go, the task queue: enqueue and schedule tasks (tasks), give them to workers (take, lines,
//     turns, consumers, look, delivery), say where a job is in the queue, or withdraw it (place), and count
//     what waits (backlog).
//   - letters*.go, the dead letters: tasks that are not retried by themselves, and messages that are no task
//     (raw).
//
// Beside them: how far jobs are (progress.go) and which workers run where (presence*.go), both in memory;
// streams*.go says what the server's streams must be and how an operator changes them; bus.go, request.go,
// publish.go and health.go talk to the server.
//
// # Mechanism
//
//  1. Where one writer must win, it writes by compare-and-swap on a subject (the header
//     Nats-Expected-Last-Subject-Sequence): the next event of a subject, the one task of a job, the one dead
//     letter of a failure.
//  2. When a publish gets no answer, the bus sends it again. The second one may meet a conflict; the bus
//     then looks at what is stored, so a lost answer never shows as a failure.
//  3. Tasks are in a work queue: an ack removes them. Retries are scheduled messages in the same stream,
//     which the server turns into tasks when they are due.
//  4. Within a priority projects take turns by weight, in each process by itself (queue_turns.go). There is
//     one durable pull consumer for each worker type, priority and project that has tasks. It is made when a
//     process first hears of a task there, and the server removes it when nobody has pulled from it for five
//     minutes and no lease is left. The subject of a task also has one of eight lanes, which a hash of the
//     project decides. Only earlier versions need it.
//  5. The server republishes every stored task, headers only, to bell.>: a bell that names the project. A
//     task that is given back rings it, too. Three things ring no bell: a lease that ran out, a return with
//     a delay, and a task that was there before the process. A look at the queue every two seconds finds
//     those (queue_look.go). So a process pulls only where something may wait, and an idle worker type costs
//     one small request in two seconds. Callers who take high priority only wait apart from those who take
//     all (queue_lines.go).
//  6. The server republishes events to live.>, for those who watch.
//  7. Dead letters are a stream; the id of a letter is its sequence there.
//
// # Guarantees
//
//   - When Append, Enqueue, Schedule or DeadLetter returns nil, the message is stored: on disk when the
//     server syncs always, as the embedded one does, and on a majority of replicas in a cluster.
//   - Last sees every Append that returned before it was called, by whichever process. In a cluster, a
//     leader that is cut off may answer from the past for the seconds until it steps down. A decision based
//     on such an answer fails its compare-and-swap.
//   - A task is delivered again until it is acknowledged or withdrawn.
//   - While a project has tasks, a process takes at most as many tasks from each other project of the
//     priority as that has weight (Config.Weight) before it takes the next one from this project.
//   - A look finds every task at last, however many there are: those of projects that the process knows
//     within seconds, and others when it next lists the queue, which it does for at most a fiftieth of the
//     time.
//   - Follow delivers every event that was not purged, once per run, in order. Replay delivers those up to a
//     given one.
//   - An Audit finds exactly the events that are missing from the log and that no deletion removed.
//   - A caller of Watch that reads after it, and again at every ring, always sees the last event of each
//     subject.
//   - History and Purge read the events of one video, and no others.
//   - At most as many tasks of a project and worker type are with all processes as Config.AtOnce says, but
//     for one task for each process that takes at the same moment, when tasks of several priorities wait
//     (queue_limits.go).
//
// Not guaranteed: delivery once (a lease that runs out, a lost ack and a restart all deliver again, so
// handlers are idempotent); order between tasks; turns over all processes together, since each takes its
// own; bells, progress and presence after a crash (they are hints: readers poll, and writers repeat them).
package bus
