// Package webhook is the worker that notifies a user's server that a video is playable or has ended. It
// follows Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks): a POST of {type,
// timestamp, data}, signed over id, time and body. The id is the same in every try.
//
//	2xx                                accepted
//	410, an address that is refused    webhook_refused: no further try
//	anything else                      webhook_failed: tried again after the job's delays
//
// With 410 a receiver says that it wants no more webhooks (the specification's "Delivery success and
// failure"). It ends this delivery. The URL is part of the video or of the configuration, and a person must
// remove it.
//
// Each host (scheme, name and port) has a circuit breaker, so that one that refuses, hangs or answers 5xx
// costs the others little. After five failures in a row, deliveries to the host fail at once, as
// webhook_failed, for half a minute; then one delivery probes. A receiver that hangs holds one slot for
// Config.Timeout at each try. Refused addresses and abandoned deliveries do not count as failures of the
// host.
//
// Users choose the address, so the request is checked when it connects, on the address that the name resolved
// to. Private, loopback, link-local and all other addresses outside the public internet are refused, unless
// Config.AllowPrivate is set. The worker follows no redirects and uses no proxies of the environment. It
// trusts the operator's own default URL.
//
// Not guaranteed: that a delivery arrives once (the receiver drops the second by webhook-id), and the order.
package webhook
