// Package webhooks reports events to endpoints that a project has set up: web servers (Standard Webhooks,
// https://github.com/standard-webhooks/standard-webhooks), mailboxes, and subjects of NATS.
//
//  1. An Endpoint says what it wants (events) and where it is. It is kept in a bucket of the broker, so that
//     every server sees it. A Desk makes, changes and removes endpoints.
//  2. A Dispatcher gets every event of the log, at least once. For each endpoint that wants the event it
//     queues one Task, with the body. The task's delivery has an id derived from event and endpoint, so that
//     an event which is dispatched again makes no second delivery.
//  3. A Sender takes tasks and makes one attempt at each. It writes the outcome into the delivery's Record,
//     then queues the next attempt for its time (Delay), then removes the task. Whatever breaks in between is
//     repaired when the task comes again: the record says which attempts are made.
//  4. No host has more than a few attempts at once, and one that does not answer has a single one (gates.go).
//     A task whose host has no room goes back to the queue and frees its slot. So a host that hangs does not
//     hold up others.
//  5. A receiver that answers 410 is disabled at once, and one whose attempts all failed for five days, with
//     the reason in the endpoint. Two days without an attempt begin the five anew. What is still queued for
//     it is not sent.
//  6. A Sweeper queues again what a process did not that died between two writes: a record that is pending
//     without a queued attempt, and the message that an endpoint was disabled.
//
// Records are kept for 30 days, and at most 1 GiB of them; the oldest go first. A delivery under way does
// not need its record: without it, an attempt may be made twice.
//
// # Guarantees
//
//   - An event that is in the log after an endpoint was made is delivered to it at least once, or its record
//     says why not. The webhook-id of every attempt is the event's id, so a receiver can drop doubles.
//   - video.deleted is delivered although the events of the video are removed. Other events of a video that
//     is deleted before they are dispatched are not.
//   - A secret is never in a record, a log line, or an answer other than that of its creation.
//
// Not guaranteed: order. A receiver that needs it compares timestamps, or reads the video.
package webhooks
