// Package playback judges who may play a video whose policy is signed. It knows two kinds of permission: the
// token of a viewer, which a site signs, and the pass, which the server makes of it.
//
// How it works, step by step:
//
//  1. A site makes a token for each viewer: a JWT, signed with one of the project's signing keys (package
//     access). Its kid names the key, sub the video, aud is "playback", exp is its end. It may have nbf, ip
//     (an address or network that the viewer must have) and path (what the paths that it plays begin with).
//  2. Judge.Token verifies it, with the algorithm of the key, whatever the token says.
//  3. The server answers a playlist that was asked for with a token with every URL below a pass: Lead writes
//     ~<pass>/ into them. All further URLs are relative, so players carry the pass along and know nothing of
//     it.
//  4. Judge.Pass judges it: the HMAC by the secret of the installation, the end, and whether the key of the
//     token is still valid.
//
// A pass has nothing of its viewer. It ends when the token does, rounded up on a grid of at most a tenth of
// what is left (Until), so that viewers with tokens of similar ends get the same URLs, and a cache in front
// of the server answers one with what it fetched for another.
//
// Guarantees:
//
//   - A token or pass plays one video, of the project of its key, and nothing after its end.
//   - What a revoked key has allowed ends within access.MaxAge, in every process. A process that cannot know
//     that refuses with access.ErrStale.
//   - A pass has one spelling: no other text is taken for it.
//
// Not guaranteed:
//
//   - A viewer can hand on a token or pass until it ends; ip makes that harder. So can a page that he visits,
//     if his token stands in its address.
//   - What a cache has fetched it may answer until the pass ends, also when the key is revoked.
//   - Clocks: the end is by the clock of the process that judges. A token may begin Skew early, for the clock
//     of whoever signed it.
package playback
