/** One event of a stream (HTML Living Standard, section 9.2). */
export interface ServerEvent {
  /** 'message' where the server names none. */
  event: string;
  data: string;
}

/** An event longer than this is not one of ours, in characters. */
const LONGEST = 1 << 16;

/**
 * Reads text/event-stream. For streams that need an Authorization header, which
 * EventSource cannot send. Rejects when the stream breaks or a line never ends.
 */
export async function* eventsOf(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerEvent, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let event = '';
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      // A CR at the end may be half of a CRLF.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { event: event || 'message', data: data.join('\n') };
          event = '';
          data = [];
          continue;
        }
        const [, name, text = ''] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
        if (name === 'event') event = text;
        if (name === 'data') data.push(text);
      }
      if (rest.length + data.join('').length > LONGEST) throw new Error('event too long');
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
