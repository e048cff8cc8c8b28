import { describe, expect, it, vi } from 'vitest';
import { Files } from './files.ts';
import { FakeWire } from './wire.fake.ts';

const KIB = 1024;

function fileOf(size: number, name = 'notes.pdf'): File {
  const data = Uint8Array.from({ length: size }, (_, i) => i % 251);
  return new File([data], name, { type: 'application/pdf' });
}

function setUp(limit = Infinity) {
  let ids = 0;
  const files = new Files({
    newId: () => `f${++ids}`,
    limit: () => limit,
    digest: () => Promise.resolve('d'.repeat(64)),
  });
  const wire = new FakeWire();
  files.attach(wire);
  wire.open();
  return { files, wire };
}

/** Puts the chunks together, checking their headers. */
function received(wire: FakeWire, transfer: number, from = 0): Uint8Array {
  const all: number[] = [];
  for (const chunk of wire.chunks) {
    const view = new DataView(chunk);
    expect(view.getUint32(0)).toBe(transfer);
    expect(view.getUint32(4)).toBe(from + all.length);
    all.push(...new Uint8Array(chunk, 8));
  }
  return Uint8Array.from(all);
}

describe('Files', () => {
  it('sends a file in chunks and is done when it is stored', async () => {
    const { files, wire } = setUp();
    const file = fileOf(70 * KIB);
    const sending = files.send(file);
    await vi.waitFor(() => expect(wire.messages).toHaveLength(1));
    expect(wire.messages[0]).toEqual({
      type: 'put',
      id: 'f1',
      name: 'notes.pdf',
      size: 70 * KIB,
      sha256: 'd'.repeat(64),
      media_type: 'application/pdf',
    });
    wire.receive({ type: 'go', id: 'f1', transfer: 4, offset: 0, window: 1 << 20 });
    await vi.waitFor(() => expect(wire.chunks).toHaveLength(3));
    expect(received(wire, 4)).toEqual(new Uint8Array(await file.arrayBuffer()));
    wire.receive({ type: 'ack', id: 'f1', offset: 40 * KIB });
    expect(files.uploads[0]).toMatchObject({ state: 'sending', sent: 40 * KIB });
    wire.receive({ type: 'stored', id: 'f1', file: 'f_1', url: '/x', seq: 3 });
    await expect(sending).resolves.toBeUndefined();
    expect(files.uploads[0]).toMatchObject({ state: 'stored', sent: 70 * KIB });
  });

  it('never sends beyond the window', async () => {
    const { files, wire } = setUp();
    void files.send(fileOf(200 * KIB));
    await vi.waitFor(() => expect(wire.messages).toHaveLength(1));
    wire.receive({ type: 'go', id: 'f1', transfer: 1, offset: 0, window: 64 * KIB });
    await vi.waitFor(() => expect(received(wire, 1)).toHaveLength(64 * KIB));
    wire.receive({ type: 'ack', id: 'f1', offset: 20 * KIB });
    await vi.waitFor(() => expect(received(wire, 1)).toHaveLength(84 * KIB));
  });

  it('waits while the buffer is full', async () => {
    const { files, wire } = setUp();
    wire.bufferedAmount = 2 << 20;
    void files.send(fileOf(10 * KIB));
    await vi.waitFor(() => expect(wire.messages).toHaveLength(1));
    wire.receive({ type: 'go', id: 'f1', transfer: 1, offset: 0, window: 1 << 20 });
    expect(wire.chunks).toHaveLength(0);
    wire.bufferedAmount = 0;
    wire.low();
    await vi.waitFor(() => expect(wire.chunks).toHaveLength(1));
  });

  it('goes on after a reconnect where the server says', async () => {
    const { files, wire } = setUp();
    const file = fileOf(50 * KIB);
    void files.send(file);
    await vi.waitFor(() => expect(wire.messages).toHaveLength(1));
    wire.receive({ type: 'go', id: 'f1', transfer: 1, offset: 0, window: 1 << 20 });
    await vi.waitFor(() => expect(wire.chunks).toHaveLength(2));
    wire.drop();
    expect(files.uploads[0]?.state).toBe('waiting');

    const second = new FakeWire();
    files.attach(second);
    second.open();
    expect(second.messages[0]).toMatchObject({ type: 'put', id: 'f1' });
    second.receive({ type: 'go', id: 'f1', transfer: 9, offset: 30 * KIB, window: 1 << 20 });
    await vi.waitFor(() => expect(second.chunks).toHaveLength(1));
    const rest = new Uint8Array(await file.arrayBuffer()).slice(30 * KIB);
    expect(received(second, 9, 30 * KIB)).toEqual(rest);
  });

  it('refuses what is too large before it reads it', async () => {
    const { files, wire } = setUp(10);
    await expect(files.send(fileOf(11))).rejects.toMatchObject({ code: 'file_too_large' });
    expect(wire.sent).toHaveLength(0);
    expect(files.uploads[0]?.problem?.code).toBe('file_too_large');
  });

  it('tells what the server refused', async () => {
    const { files, wire } = setUp();
    const sending = files.send(fileOf(10));
    await vi.waitFor(() => expect(wire.messages).toHaveLength(1));
    wire.receive({ type: 'error', id: 'f1', code: 'quota_exceeded', message: 'full' });
    await expect(sending).rejects.toMatchObject({ code: 'quota_exceeded' });
  });

  it('has three under way at once and the others wait their turn', async () => {
    const { files, wire } = setUp();
    for (let i = 0; i < 5; i++) files.send(fileOf(10, `${i}`)).catch(() => undefined);
    await vi.waitFor(() => expect(wire.messages).toHaveLength(3));
    wire.receive({ type: 'stored', id: 'f1', file: 'x', url: '/x', seq: 1 });
    await vi.waitFor(() => expect(wire.messages).toHaveLength(4));
    files.remove('f2');
    await vi.waitFor(() =>
      expect(wire.messages.slice(4)).toEqual([
        { type: 'cancel', id: 'f2' },
        expect.objectContaining({ type: 'put', id: 'f5' }),
      ]),
    );
  });
});
