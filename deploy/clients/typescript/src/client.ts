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

/** A refusal by the server. `problem.code` says which; `problem.remedy` says what to do. */
export class ReelMillError extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.name = 'ReelMillError';
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

/** A client of one server. `base` is its address, such as http://127.0.0.1:8080. */
export class ReelMill {
  readonly api: ReturnType<typeof createClient<paths>>;
  readonly base: string;
  readonly #credential: Record<string, string>;

  constructor(base: string, { key, ...options }: Options = {}) {
    this.base = base.replace(/\/$/, '');
    this.#credential = key ? { Authorization: `Bearer ${key}` } : {};
    this.api = createClient<paths>({
      querySerializer: { array: { style: 'form', explode: false } }, ...options, baseUrl: this.base,
      headers: { ...this.#credential, ...(options.headers as Record<string, string> | undefined) },
    });
  }

  /** Uploads a file, and goes on after broken connections and restarts of the server. Returns the id of the video. */
  async upload(source: Source, request: UploadRequest = {}): Promise<string> {
    const { onProgress, signal, tus, ...order } = { ...request, size: request.size ?? sizeOf(source) };
    const created = unwrap(await this.api.POST('/v1/uploads', { body: order, signal: signal ?? null }));
    await new Promise<void>((resolve, reject) => {
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
      signal?.addEventListener('abort', () => void upload.abort().finally(() => reject(signal.reason)), { once: true });
      upload.start();
    });
    return created.video_id;
  }

  /**
   * Waits until a video is playable or ready, by long polls, also over restarts of the server. Returns it also when it
   * has ended otherwise: look at `status`. Rejects with the signal's reason when that aborts.
   */
  async waitUntil(id: string, until: 'playable' | 'ready', signal?: AbortSignal): Promise<Video> {
    for (;;) {
      const answer = await again(signal, () => this.api.GET('/v1/videos/{id}', {
        params: { path: { id }, query: { wait: '30s', until } }, signal: signal ?? null,
      }));
      const video = unwrap(answer);
      if (video.finished_at !== null || (until === 'playable' && video.playable)) return video;
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

  /** The events of a video, past and future, each once and in order, until the video has ended. */
  async *events(id: string, signal?: AbortSignal): AsyncGenerator<Event> {
    let last = '';
    for (;;) {
      const response = await again(signal, async () => {
        const answer = await fetch(`${this.base}/v1/videos/${encodeURIComponent(id)}/events`, {
          headers: { ...this.#credential, Accept: 'text/event-stream', ...(last && { 'Last-Event-ID': last }) }, signal: signal ?? null,
        });
        return { response: answer, ...(answer.ok ? { data: answer } : { error: await answer.json() as Problem }) };
      });
      const stream = unwrap(response);
      if (stream.status === 204 || stream.body === null) return;
      try {
        for await (const message of messages(stream.body)) {
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

interface Answer<T> { data?: T; error?: unknown; response: Response }

/** Returns what was answered, or throws the problem. */
function unwrap<T>(answer: Answer<T>): T {
  if (answer.error !== undefined) throw new ReelMillError(answer.error as Problem);
  return answer.data as T;
}

/** Does a read again while the server cannot be reached or says that another try may help. */
async function again<T>(signal: AbortSignal | undefined, read: () => Promise<Answer<T>>): Promise<Answer<T>> {
  for (let pause = 100; ; pause = Math.min(2 * pause, 5000)) {
    try {
      const answer = await read();
      if (!(answer.error as Problem | undefined)?.retryable) return answer;
    } catch (error) {
      if (signal?.aborted || !(error instanceof TypeError)) throw error;
    }
    await new Promise(resolve => setTimeout(resolve, pause));
    signal?.throwIfAborted();
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
