// Package outbound makes the HTTP requests to addresses that users choose: webhooks and sources.
//
//  1. CheckURL refuses what cannot be an address, and Guard.CheckURL, besides, a host that is a forbidden
//     address as it is written. They look nothing up, so they answer at once.
//  2. A client of Guard.Client checks each address that it dials, after every resolution of the name
//     (net.Dialer.Control). A name that leads elsewhere the second time (DNS rebinding) gains nothing. Of a
//     name with several addresses, it dials the public ones only; if none is public, the request is refused.
//  3. It follows no redirect, or at most Guard.Redirects of them, each checked as the first URL was. It does
//     not go from https to http, and tells no server where it was redirected from.
//
// The client uses no proxies of the environment, keeps no cookies and no connections, and sends no user name.
// All ports are allowed: receivers and file servers have any.
//
// Not guaranteed: that a public address does not pass the request on to a private network by itself.
package outbound
