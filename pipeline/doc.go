// Package pipeline is the story of ReelMill, told with the standard library only: what a video goes through
// from upload to ready, in five steps, one file each.
//
//  1. upload (upload.go): the source is whole in the store; video.uploaded is appended, then answered. An
//     upload may name a URL instead; then a job fetches the source (fetch.go).
//  2. inspect (inspect.go): a job says what the file is; verdict and frozen plan become video.inspected.
//  3. fan out (fanout.go): every job of the plan whose `after` jobs are completed is enqueued for its worker.
//  4. aggregate (aggregate.go): the fold of the plan's jobs becomes video.playable, and later the video's
//     end.
//  5. notify (notify.go): video.playable and the video's end become webhook jobs, retried like any other.
//
// A video that is ready may get further outputs: addition.go says what an addition is, additionplan.go makes
// its plan, and additionflow.go runs it. The video stays ready meanwhile.
//
// flow.go holds the table that says which event leads to which step, and the Coordinator that runs it.
// keys.go holds the keys of a video's objects. Packages beside this one compute from the story:
// pipeline/stats the statistics, pipeline/why a text on what a video waits for.
//
// # Truth
//
// The event log is the truth, and the last event of a subject is the state of its thing. A subject is written
// with compare-and-swap (Log.Append), so a state has one successor, whoever tries. Nothing here counts, locks
// or remembers: on every delivery the Coordinator folds the last events of a video (Video) and does all that
// is missing. Doing it twice changes nothing.
//
// # Guarantees
//
//   - A video that Accept answered is in the log; only Delete removes it.
//   - A video ends once per generation: compare-and-swap on its video.finished subject admits one end.
//   - The plan in video.inspected never changes; a video is judged by it and by nothing else. An addition has
//     a plan of its own, and its failure changes nothing of the video.
//
// Not guaranteed: that a job runs once (it completes once), that a webhook is sent once (its id is stable),
// and the order of events of different videos.
//
// # Glossary
//
//   - video: one uploaded source and all that is made of it. Its id is vid_ and 26 letters and digits. It
//     does not sort by time, since it may be derived from an idempotency key.
//   - project: the owner of videos, keys and webhook endpoints; a name token. DefaultProject always exists.
//   - API key: a credential of one project, with scopes, each of which allows one kind of request (package
//     access).
//   - upload token, read token: credentials for a browser, to make one upload or to follow one video.
//   - quota: a limit on what a project uploads on a day, stores, or has encoded in a month (package quota).
//   - grant: what a request may do, made from its credential.
//   - actor: who did what an event tells.
//   - step: an entry of a pipeline document: a worker type, its parameters, and what must come before it.
//   - plan: the list of jobs, frozen into video.inspected.
//   - addition: steps that were added to a video after it was ready, numbered from 1.
//   - job: one unit of work for one worker type, named by step and part, such as transcode-0000.
//   - attempt: one try at a job; its token is the sequence of the job.started event that opened it.
//   - task: the message that brings a job to a worker; its cause is the job event that it was made for.
//   - output: what a completed job leaves in the store: a rendition, playlist, poster, file.
//   - rendition, rung, ladder, segment, manifest: as in HLS and DASH.
package pipeline
