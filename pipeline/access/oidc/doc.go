// Package oidc lets the users of an OpenID Connect issuer in: it turns their JSON Web Tokens into grants.
//
// How it works, step by step:
//
//  1. Issuer.Run fetches the public keys of the issuer (JWKS): at the start, every few minutes, and when a
//     token names a key that it does not know. Its address comes from the issuer's discovery document, or
//     from Config.JWKS.
//  2. Authenticate checks a token: its form, algorithm, issuer, audience and times, and then its signature by
//     the key that its kid names. Only tokens that pass all else make Run fetch, at most once in fetchGap.
//  3. Claims of the token name the project and the scopes of the grant. The project must exist.
//
// What it guarantees:
//
//   - A token counts only if a key of the issuer has signed it with an asymmetric algorithm. What a token
//     says of its own key (jwk, jku, x5c) is never used.
//   - While the issuer is down or hangs, tokens under known keys count for maxAge after the last fetch.
//     Others are access.ErrIssuerAway, within patience. Nothing but tokens waits for the issuer.
//   - No credential of an issuer is an operator's.
//
// What it does not guarantee: that a token ends before it expires. The issuer may have ended the user's
// session; nothing tells us. A key that the issuer withdraws is refused at the next fetch.
package oidc
