// Runs against the server at REELMILL_URL, with the clip at REELMILL_CLIP, and webhooks signed with REELMILL_SECRET.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { ReelMill, ReelMillError, verifyWebhook, type WebhookMessage } from '../src/client.js';

const { REELMILL_URL: url = '', REELMILL_CLIP: clip = '', REELMILL_SECRET: secret = '' } = process.env;
const reelmill = new ReelMill(url);

test('uploads, waits, follows events and gets the webhook', async () => {
  const hooks = createServer();
  const hook = new Promise<WebhookMessage>((resolve, reject) => {
    hooks.on('request', (request, response) => {
      void text(request).then(body => {
        response.writeHead(204).end();
        assert.throws(() => verifyWebhook(secret, body + ' ', request.headers), 'another body');
        const message = verifyWebhook(secret, body, request.headers);
        if (message.type === 'video.ready') resolve(message);
      }).catch(reject);
    });
  });
  await new Promise<void>(resolve => hooks.listen(0, '127.0.0.1', resolve));
  try {
    const size = statSync(clip).size;
    let sent = 0;
    const id = await reelmill.upload(createReadStream(clip), {
      size, filename: 'clip.mp4', title: 'Typed', metadata: { from: 'node' },
      webhook_url: `http://127.0.0.1:${(hooks.address() as AddressInfo).port}/`,
      onProgress: bytes => { sent = bytes; },
    });
    assert.equal(sent, size);
    const playable = await reelmill.waitUntil(id, 'playable');
    assert.equal(playable.playable, true);
    const video = await reelmill.waitUntil(id, 'ready');
    assert.equal(video.status, 'ready', JSON.stringify(video.error));
    assert.equal(video.sha256, createHash('sha256').update(readFileSync(clip)).digest('hex'));
    assert.deepEqual([video.title, video.metadata], ['Typed', { from: 'node' }]);

    const types: string[] = [];
    for await (const event of reelmill.events(id)) types.push(event.type);
    assert.equal(types[0], 'video.uploaded');
    assert.ok(types.includes('video.ready') && types.includes('job.completed'), types.join());
    assert.equal((await hook).data.id, id);
  } finally {
    hooks.close();
    hooks.closeAllConnections();
  }
});

test('lists all pages', async () => {
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.unshift(await reelmill.upload(Buffer.from(`no video ${i}`), { filename: `${i}.mp4` }));
  for (const id of ids) assert.equal((await reelmill.waitUntil(id, 'ready')).status, 'rejected');
  const listed: string[] = [];
  for await (const video of reelmill.videos({ limit: 2, status: ['rejected', 'errored'] })) listed.push(video.id);
  assert.deepEqual(listed, ids);
});

test('reports problems', async () => {
  const missing = reelmill.waitUntil('vid_01kah3q5zj3e6n8p0s2f4h7k9m', 'ready');
  await assert.rejects(missing, (error: unknown) => {
    assert.ok(error instanceof ReelMillError);
    assert.equal(error.problem.code, 'not_found');
    return true;
  });
  await assert.rejects(reelmill.upload(Buffer.from('x'), { pipeline: 'nonesuch' }), /pipeline_unknown/);
  const events = reelmill.events('vid_01kah3q5zj3e6n8p0s2f4h7k9m');
  await assert.rejects(events.next(), /not_found/);
});

test('stops waiting', async () => {
  const id = await reelmill.upload(Buffer.from('no video'), { filename: 'x.mp4' });
  await reelmill.waitUntil(id, 'ready');
  await assert.rejects(reelmill.waitUntil(id, 'ready', AbortSignal.abort(new Error('enough'))), /enough/);
});
