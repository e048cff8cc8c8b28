import { describe, expect, it } from 'vitest';
import { type ServerEvent, eventsOf } from './sse.ts';

async function read(...parts: string[]): Promise<ServerEvent[]> {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(encoder.encode(part));
      controller.close();
    },
  });
  const all: ServerEvent[] = [];
  for await (const event of eventsOf(body)) all.push(event);
  return all;
}

describe('eventsOf', () => {
  it('reads events however the network cuts them', async () => {
    const text = ': hello\n\nevent: layers\ndata: {"1":\ndata: []}\n\nretry: 3000\ndata:x\r\n\r\n';
    const all = [
      { event: 'layers', data: '{"1":\n[]}' },
      { event: 'message', data: 'x' },
    ];
    expect(await read(text)).toEqual(all);
    expect(await read(...text)).toEqual(all);
  });

  it('leaves out what is not finished', async () => {
    expect(await read('event: layers\ndata: 1\n')).toEqual([]);
  });

  it('gives up on what never ends', async () => {
    await expect(read('data: ', 'x'.repeat(70_000))).rejects.toThrow();
  });
});
