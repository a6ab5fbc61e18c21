// Uploads a file with tus-js-client, for the tests in cmd/reelmill. It never gives up.
//
// usage: node tus.mjs FILE URL [CHUNK]

import { createReadStream, statSync } from 'node:fs';
import { Upload } from 'tus-js-client';

const [file, uploadUrl, chunk] = process.argv.slice(2);
await new Promise((resolve, reject) => new Upload(createReadStream(file), {
  uploadUrl, uploadSize: statSync(file).size, chunkSize: chunk ? Number(chunk) : Infinity,
  retryDelays: Array(100_000).fill(50), onShouldRetry: () => true, onError: reject, onSuccess: resolve,
}).start());
