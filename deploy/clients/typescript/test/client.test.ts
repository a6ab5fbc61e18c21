// Runs against the server at REELMILL_URL, with the clip at REELMILL_CLIP, and webhooks signed with REELMILL_SECRET.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
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

/** Starts a server that stands for a proxy, and closes it after `use`. */
async function behind(answer: RequestListener, use: (url: string) => Promise<void>): Promise<void> {
  const proxy = createServer(answer);
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve));
  try {
    await use(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  } finally {
    proxy.close();
    proxy.closeAllConnections();
  }
}

test('reports what a proxy answers', async () => {
  const page = '<html><head><title>502 Bad Gateway</title></head><body>nobody is <b>there</b></body></html>';
  for (const [status, body] of [[502, page], [403, page], [503, ''], [200, page]] as const) {
    const answer: RequestListener = (_, response) => {
      response.writeHead(status, { 'Content-Type': 'text/html', 'Retry-After': '7200' }).end(body); // too long to wait for
    };
    await behind(answer, async url => {
      await assert.rejects(new ReelMill(url).upload(Buffer.from('x')), (error: unknown) => {
        assert.ok(error instanceof ReelMillError, String(error));
        assert.equal(error.status, status);
        assert.equal(error.problem.code, 'unexpected_answer');
        if (body) assert.match(error.message, /nobody is there/);
        return true;
      });
    });
  }
});

test('sends a create again with its key when the answer is lost', async () => {
  const keys: unknown[] = [], made: string[] = [];
  const answer: RequestListener = (request, response) => void (async () => {
    const body = await text(request);
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': String(request.headers['idempotency-key']) };
    const real = await fetch(url + request.url, { method: request.method ?? '', headers, body: body || null });
    const raw = await real.text();
    keys.push(request.headers['idempotency-key']);
    made.push((JSON.parse(raw) as { id: string }).id);
    if (keys.length === 1) request.socket.destroy();
    else response.writeHead(real.status, { 'Content-Type': 'application/json' }).end(raw);
  })();
  await behind(answer, async proxy => {
    const body = { url: 'http://127.0.0.1:9/', events: ['video.ready'], enabled: true, kind: 'webhook' as const };
    const { data } = await new ReelMill(proxy).api.POST('/v1/webhook_endpoints', { body });
    assert.equal(keys.length, 2);
    assert.ok(keys[0] && keys[0] === keys[1], String(keys));
    assert.deepEqual(made, [data?.id, data?.id]);
    await reelmill.api.DELETE('/v1/webhook_endpoints/{id}', { params: { path: { id: data?.id ?? '' } } });
  });
});

test('waits before it opens a stream again', async () => {
  const opened: number[] = [];
  const answer: RequestListener = (request, response) => {
    opened.push(performance.now());
    switch (opened.length) {
      case 1: // asks for a second
        response.writeHead(503, { 'Retry-After': '1', 'Content-Type': 'text/html' }).end('later');
        return;
      case 2: case 3: case 4: case 5: // cut at once
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
        request.socket.destroySoon();
        return;
      default:
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).end('event: end\ndata: {}\n\n');
    }
  };
  await behind(answer, async proxy => {
    for await (const _ of new ReelMill(proxy).events('vid_1')) assert.fail('there was no event');
  });
  const waited = opened.map((at, i) => at - (opened[i - 1] ?? at));
  assert.equal(opened.length, 6);
  assert.ok((waited[1] ?? 0) >= 990, `Retry-After: waited ${waited}`);
  for (const [i, least] of [[2, 95], [3, 195], [4, 395], [5, 795]] as const) {
    assert.ok((waited[i] ?? 0) >= least, `connection ${i + 1}: waited ${waited}`);
  }
});

test('stops waiting while it is between two tries', async () => {
  const controller = new AbortController();
  const answer: RequestListener = (_, response) => {
    response.writeHead(503, { 'Retry-After': '50' }).end(); // a minute at most is waited for
    setTimeout(() => controller.abort(new Error('enough')), 100);
  };
  await behind(answer, async proxy => {
    await assert.rejects(new ReelMill(proxy).waitUntil('vid_1', 'ready', controller.signal), /enough/);
  });
});
