// Reads deliveries as JSON lines ({secret, headers, body}) and exits with 1 if the reference verifier of Standard
// Webhooks refuses one.
import { createInterface } from 'node:readline';
import { Webhook } from 'standardwebhooks';

let verified = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  new Webhook(secret).verify(body, headers);
  verified++;
}
console.log(verified);
