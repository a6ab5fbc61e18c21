// Signs the token of a viewer, and prints it.
//
// usage: node sign.mjs PRIVATE_KEY_FILE SIGNING_KEY_ID VIDEO_ID SECONDS

import { readFile } from 'node:fs/promises';
import { importPKCS8, SignJWT } from 'jose';

// playbackToken returns a token that plays a video for some seconds. pem is the private key of a signing key with the
// algorithm ES256, as `reelmill signing-keys create` prints it, and kid the id of that key.
export async function playbackToken(pem, kid, video, seconds) {
  const key = await importPKCS8(pem, 'ES256');
  return new SignJWT()
    .setProtectedHeader({ alg: 'ES256', kid })
    .setSubject(video)
    .setAudience('playback')
    .setExpirationTime(`${seconds}s`)
    .sign(key);
}

const [file, kid, video, seconds] = process.argv.slice(2);
if (!seconds) {
  console.error('usage: node sign.mjs PRIVATE_KEY_FILE SIGNING_KEY_ID VIDEO_ID SECONDS');
  process.exit(2);
}
console.log(await playbackToken(await readFile(file, 'utf8'), kid, video, Number(seconds)));
