// Package mail sends messages about events to mailboxes, over SMTP: endpoints of the kind email.
//
//  1. A message has a text and an HTML part, and the poster of a video, if there is one. Its Message-ID is
//     derived from the delivery, so that a second one of the same delivery can be recognised.
//  2. Titles and names come from users. The HTML part escapes them (html/template). A header has one line:
//     control characters are taken out.
//  3. The connection is encrypted (STARTTLS, or TLS from the beginning), unless the address says otherwise.
//     Each message has a connection of its own: they are rare.
//
// Not guaranteed: that a message reaches its reader. Accepted means that the SMTP server took it.
package mail
