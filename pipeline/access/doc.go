// Package access knows who may do what: projects, their API keys, tokens for browsers, and the grant that
// each gives to a request.
//
// How it works, step by step:
//
//  1. Projects and keys are chains of events in the log, one subject each (pipeline.AccessSubject). The
//     functions of write.go append them by compare-and-swap. A key's event has the SHA-256 of its secret,
//     and never the secret, which is shown once.
//  2. Each process keeps all projects and keys in memory: a Book. Its feed (bus.Tail) brings the events
//     from the beginning of the log on, and says after each look at the log when that look began.
//  3. Authenticate finds a key by the SHA-256 of what the client sent, and judges it. A missing, revoked and
//     expired key, and one of a deleted project, are judged by the same steps and get the same error.
//  4. Tokens seals what its holder may do: one upload, or to read one video. Nothing is stored. Open checks
//     the seal, and AuthenticateToken judges the key that made the token.
//  5. The grant goes into the context of the request. Handlers see the grant, and no credential.
//
// Package oidc below makes grants of the tokens of an OpenID Connect issuer.
//
// Guarantees:
//
//   - A key is refused at the latest MaxAge (2 s) after the event of its revocation was stored, in every
//     process: a Book that has not looked at the log for that long returns ErrStale instead of a grant. What
//     goes on for long has a Lease, which tells when its grant is over.
//   - A token ends with the key that made it, in the same time, and never outlives it.
//   - The project "default" always exists, also without an event. A deleted project may be created again;
//     the keys that it had stay void.
//   - State is a fold of the events and of nothing else: after a restart it is the same.
//
// Not guaranteed:
//
//   - A request that has begun goes on after its key is revoked, unless it has a Lease.
//   - Clocks: keys expire by the clock of the process that judges them.
//   - In a cluster, a leader of the log that is cut off may answer from the past for the seconds until it
//     steps down.
package access
