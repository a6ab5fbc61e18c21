// A thin layer over the types that are generated from the OpenAPI document (api.d.ts): what one request does not do.
// Every operation is at `api`, typed by its path.

import createClient from 'openapi-fetch';
import { Webhook } from 'standardwebhooks';
import { Upload, type UploadOptions } from 'tus-js-client';
import type { components, operations, paths } from './api.js';

export type Video = components['schemas']['VideoView'];
export type Event = components['schemas']['Event'];
export type WebhookMessage = components['schemas']['Message'];
export type Problem = components['schemas']['ProblemDocument'];
type Order = NonNullable<operations['create-upload']['requestBody']>['content']['application/json'];
type Page = operations['list-videos']['responses'][200]['content']['application/json'];
type Filter = NonNullable<operations['list-videos']['parameters']['query']>;

/** What may be uploaded: a Blob or File in browsers; in Node also a Buffer or a stream of fs.createReadStream. */
export type Source = ConstructorParameters<typeof Upload>[0];

/**
 * An answer that is no success. `problem.code` says which; `problem.remedy` says what to do. The answer of a proxy, which
 * is no problem document, has the code `unexpected_answer` and the beginning of its text.
 */
export class ReelMillError extends Error {
  /** The HTTP status. */
  readonly status: number;

  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.name = 'ReelMillError';
    this.status = problem.status;
  }
}

export interface UploadRequest extends Order {
  /** Bytes of the file. Required for streams. */
  size?: number;
  /** Called with the bytes that were sent, and the size of the file. */
  onProgress?: (sent: number, total: number | null) => void;
  /** Stops the upload. The bytes that the server has are kept until the upload expires. */
  signal?: AbortSignal;
  /** Passed on to tus-js-client. Default: tries for about ten minutes without a byte, then gives up. */
  tus?: Partial<UploadOptions>;
}

export type Options = Parameters<typeof createClient>[0] & {
  /** An API key or a JSON Web Token; in browsers an upload token for `upload`, or a read token for `waitUntil` and `events`. */
  key?: string;
};

/**
 * A client of one server. `base` is its address, such as http://127.0.0.1:8080.
 *
 * Each POST has an Idempotency-Key, unless the caller sets one. What fails for a reason that may pass, be it a broken
 * connection, 429 or an answer 502, 503 or 504, is sent again with the same key, six times in about half a minute: so a
 * POST whose answer was lost does its work once.
 */
export class ReelMill {
  readonly api: ReturnType<typeof createClient<paths>>;
  readonly base: string;

  constructor(base: string, { key, ...options }: Options = {}) {
    this.base = base.replace(/\/$/, '');
    const credential: Record<string, string> = key ? { Authorization: `Bearer ${key}` } : {};
    const plain = options.fetch ?? (request => fetch(request));
    this.api = createClient<paths>({
      querySerializer: { array: { style: 'form', explode: false } }, ...options, baseUrl: this.base,
      headers: { ...credential, ...(options.headers as Record<string, string> | undefined) },
      fetch: async request => readable(await persistently(request, plain)),
    });
  }

  /** Uploads a file, and goes on after broken connections and restarts of the server. Returns the id of the video. */
  async upload(source: Source, request: UploadRequest = {}): Promise<string> {
    const { onProgress, signal, tus, ...order } = { ...request, size: request.size ?? sizeOf(source) };
    const created = unwrap(await this.api.POST('/v1/uploads', { body: order, signal: signal ?? null }));
    let stop = () => {};
    const sent = new Promise<void>((resolve, reject) => {
      const upload = new Upload(source, {
        uploadUrl: new URL(created.url ?? '', this.base + '/').href,
        retryDelays: Array.from({ length: 60 }, (_, i) => Math.min(100 * 2 ** i, 10_000)),
        storeFingerprintForResuming: false,
        uploadSize: order.size,
        onProgress: onProgress ?? null,
        onError: reject,
        onSuccess: () => resolve(),
        ...tus,
      });
      stop = () => void upload.abort().finally(() => reject(signal?.reason));
      signal?.throwIfAborted();
      upload.start();
    });
    signal?.addEventListener('abort', stop);
    try {
      await sent;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
    return created.video_id;
  }

  /**
   * Waits until a video is playable or ready, by long polls, also over restarts of the server. Returns it also when it
   * has ended otherwise: look at `status`. Rejects with the signal's reason when that aborts.
   */
  async waitUntil(id: string, until: 'playable' | 'ready', signal?: AbortSignal): Promise<Video> {
    for (;;) {
      const began = Date.now();
      const answer = await again(signal, () => this.api.GET('/v1/videos/{id}', {
        params: { path: { id }, query: { wait: '30s', until } }, signal: signal ?? null,
      }));
      const video = unwrap(answer);
      if (video.finished_at !== null || (until === 'playable' && video.playable)) return video;
      if (Date.now() - began < 15_000) await sleep(backoff(3), signal); // a server that shuts down answers early
    }
  }

  /** All videos that a filter selects, the newest first. Fetches the pages as they are needed. */
  async *videos(filter: Omit<Filter, 'cursor'> = {}, signal?: AbortSignal): AsyncGenerator<Video> {
    let cursor: string | null = null;
    do {
      const query: Filter = cursor === null ? filter : { ...filter, cursor };
      const read = () => this.api.GET('/v1/videos', { params: { query }, signal: signal ?? null });
      const page: Page = unwrap(await again<Page>(signal, read));
      yield* page.data;
      cursor = page.next_cursor;
    } while (cursor !== null);
  }

  /**
   * The events of a video, past and future, each once and in order, until the video has ended. After a broken connection
   * it waits, longer each time, and as long as the server asks for, and goes on after the last event.
   */
  async *events(id: string, signal?: AbortSignal): AsyncGenerator<Event> {
    let last = '';
    for (let failed = 0; ; failed++) {
      if (failed > 0) await sleep(backoff(failed), signal);
      const stream = await this.stream(id, last, signal);
      if (stream === null) return;
      try {
        for await (const message of messages(stream)) {
          failed = 0;
          if (message.event === 'end') return;
          if (message.id === '') continue; // job.progress, which is no event of the log
          yield JSON.parse(message.data) as Event;
          last = message.id;
        }
      } catch (error) {
        if (signal?.aborted || error instanceof SyntaxError) throw error; // else the connection broke: ask for the rest
      }
    }
  }

  /** Opens the event stream of a video after an event; null when the video has ended. */
  private async stream(id: string, last: string, signal?: AbortSignal): Promise<ReadableStream<Uint8Array> | null> {
    const { response } = await again(signal, async () => {
      const answer = await this.api.GET('/v1/videos/{id}/events', {
        params: { path: { id } }, parseAs: 'stream', signal: signal ?? null,
        headers: { Accept: 'text/event-stream', ...(last && { 'Last-Event-ID': last }) },
      });
      return { response: answer.response, error: answer.error };
    });
    return response.status === 204 ? null : response.body;
  }
}

/** Verifies a webhook and returns its message. `body` is the body as it came. Throws if it was not signed with the secret. */
export function verifyWebhook(secret: string, body: string | Buffer, headers: Record<string, unknown>): WebhookMessage {
  return new Webhook(secret).verify(body, headers as Record<string, string>) as WebhookMessage;
}

/** The size of what is no stream. */
function sizeOf(source: Source): number {
  if (source instanceof Blob) return source.size;
  if (ArrayBuffer.isView(source)) return source.byteLength;
  throw new TypeError('size is missing: say how many bytes the stream has');
}

interface Answer<T> { data?: T | undefined; error?: unknown; response: Response }

/** Returns what was answered, or throws the problem. */
function unwrap<T>(answer: Answer<T>): T {
  if (!answer.response.ok || answer.error !== undefined) throw new ReelMillError(problemOf(answer));
  return answer.data as T;
}

/** The problem of an answer that is no success; made of its status when a proxy wrote it. */
function problemOf({ error, response }: Answer<unknown>): Problem {
  const own = error as Problem | undefined;
  if (typeof own === 'object' && own !== null && typeof own.code === 'string') return own;
  const text = typeof error === 'string' ? error.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').trim() : '';
  return {
    type: 'about:blank', title: response.statusText, code: 'unexpected_answer', status: response.status,
    detail: `${response.url} answered ${response.status} ${response.statusText}: ${text.slice(0, 200)}`,
    retryable: mayPass(response.status), request_id: response.headers.get('X-Request-Id') ?? '',
  };
}

/** Passes an answer on, but for a success that is a page: a proxy wrote it, since the API answers none. */
async function readable(response: Response): Promise<Response> {
  if (response.ok && /^text\/html\b/.test(response.headers.get('Content-Type') ?? '')) {
    throw new ReelMillError(problemOf({ error: await response.text(), response }));
  }
  return response;
}

/** Whether the same request may succeed later, by the status alone. */
const mayPass = (status: number) => [408, 425, 429, 502, 503, 504].includes(status);

/** For how long a server asks to wait (RFC 9110, 10.2.3), in milliseconds; 0 if it does not. */
function asked(response: Response): number {
  const value = response.headers.get('Retry-After') ?? '';
  const at = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(at) ? 0 : Math.max(0, at);
}

/** The pause after so many failures: it doubles up to 5 s, with jitter, so that many clients do not come at once. */
const backoff = (failed: number) => Math.min(100 * 2 ** failed, 5000) * (0.5 + Math.random());

/** Waits, and rejects as soon as the signal aborts. */
function sleep(milliseconds: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (done: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      done();
    };
    const stop = () => end(() => reject(signal?.reason));
    const timer = setTimeout(() => end(resolve), milliseconds);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop);
  });
}

/** How often a request is sent again, and the longest time to wait for because a server asks. */
const tries = 6, longestAsked = 60_000;

/** Sends a request, and again while it fails for a reason that may pass. All tries of a POST have one Idempotency-Key. */
async function persistently(request: Request, send: (request: Request) => Promise<Response>): Promise<Response> {
  if (request.method === 'POST' && !request.headers.has('Idempotency-Key')) {
    request.headers.set('Idempotency-Key', newKey());
  }
  for (let failed = 1; ; failed++) {
    let pause = backoff(failed + 2);
    try {
      const response = await send(request.clone() as Request);
      if (!mayPass(response.status) || failed > tries || asked(response) > longestAsked) return response;
      pause = Math.max(pause, asked(response));
      await response.body?.cancel();
    } catch (error) {
      if (request.signal.aborted || !(error instanceof TypeError) || failed > tries) throw error;
    }
    await sleep(pause, request.signal);
  }
}

/** A random key. crypto.randomUUID is missing on pages without TLS. */
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, '0')).join('');

/** Does a read again, for as long as it takes, while the server cannot be reached or says that another try may help. */
async function again<T>(signal: AbortSignal | undefined, read: () => Promise<Answer<T>>): Promise<Answer<T>> {
  for (let failed = 1; ; failed++) {
    let pause = backoff(failed);
    try {
      const answer = await read();
      if (answer.response.ok && answer.error === undefined) return answer;
      const problem = problemOf(answer);
      if (!problem.retryable) throw new ReelMillError(problem);
      pause = Math.max(pause, asked(answer.response));
    } catch (error) {
      if (signal?.aborted || !(error instanceof TypeError)) throw error;
    }
    await sleep(pause, signal);
  }
}

/** The messages of a stream of server-sent events. */
async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<{ id: string; event: string; data: string }> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  try {
    for (let text = ''; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (text + value).split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const field = (name: string) => block.split('\n').filter(line => line.startsWith(name + ':'))
          .map(line => line.slice(name.length + 1).replace(/^ /, '')).join('\n');
        if (field('event')) yield { id: field('id'), event: field('event'), data: field('data') };
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined); // it may have failed already
  }
}
