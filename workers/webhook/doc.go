// Package webhook is the worker that tells a user's server of a video's end, as Standard Webhooks describes
// it (https://github.com/standard-webhooks/standard-webhooks): a POST of {type, timestamp, data}, signed
// over id, time and body, with an id that stays the same over every try.
//
//	2xx                                accepted
//	410, an address that is refused    webhook_refused: no further try
//	all else                           webhook_failed: tried again with the job's delays
//
// 410 is how a receiver says that it wants no more (the specification's "Delivery success and failure"). It
// ends this delivery; the URL is part of the video or of the configuration, and a person's to take out.
//
// Each host (scheme, name and port) has a circuit breaker, so that one that refuses, hangs or answers 5xx
// costs the others little: after five failures in a row deliveries to it fail at once, as webhook_failed, for
// half a minute; then one delivery probes. A receiver that hangs holds one slot for Config.Timeout, each time
// it is tried. Addresses that are refused and deliveries that are given up say nothing of the host.
//
// The address is a user's, so the request is guarded where it cannot be fooled: when the connection is
// made, on the address that the name was resolved to. Private, loopback, link-local and all other addresses
// that are not of the public internet are refused, unless Config.AllowPrivate says otherwise. Redirects are
// not followed and proxies of the environment are not used. The operator's own default URL is trusted.
//
// A delivery may arrive twice; the receiver drops the second by webhook-id. Order is not promised.
package webhook
