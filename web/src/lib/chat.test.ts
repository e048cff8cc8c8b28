import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Chat } from './chat.ts';
import { FakeWire } from './wire.fake.ts';

const you = { id: 'u-7', name: 'Wei', role: 'student' };
const welcome = (seq: number, people: object[] = [you]) => ({
  type: 'welcome',
  you,
  room: { name: 'algebra' },
  people,
  total: people.length,
  seq,
  limits: { file_bytes: 1000, text_bytes: 50 },
});
const say = (seq: number, text: string, by = 'u-9') => ({
  type: 'say',
  seq,
  at: 1000 + seq,
  by,
  from: 'Mo',
  role: 'student',
  text,
});

let refs = 0;
let chat: Chat;
let wire: FakeWire;

beforeEach(() => {
  refs = 0;
  chat = new Chat({ name: 'Wei', lang: 'zh', key: 'k'.repeat(32), newRef: () => `r${++refs}` });
  wire = new FakeWire();
});

describe('Chat', () => {
  it('says hello when the channel opens and is online after the welcome', () => {
    chat.attach(wire);
    expect(wire.sent).toEqual([]);
    wire.open();
    expect(wire.messages).toEqual([
      { type: 'hello', since: 0, name: 'Wei', lang: 'zh', key: 'k'.repeat(32) },
    ]);
    expect(chat.online).toBe(false);
    wire.receive(welcome(0));
    expect(chat.online).toBe(true);
    expect(chat.limits).toEqual({ fileBytes: 1000, textBytes: 50 });
    expect(chat.roster.people).toEqual([you]);
  });

  it('hands on each event once and in order', () => {
    const seen: number[] = [];
    chat.on('event', (event) => seen.push(event.seq));
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(2));
    for (const seq of [1, 2, 2, 1, 3]) wire.receive(say(seq, 'x'));
    wire.receive({ type: 'from-a-later-version', seq: 4, at: 1 });
    wire.receive('not json');
    expect(seen).toEqual([1, 2, 3]);
    expect(chat.seq).toBe(3);
  });

  it('keeps what was said until its event is here', async () => {
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(0));
    const said = chat.say('hello');
    expect(chat.pending).toEqual([{ ref: 'r1', text: 'hello' }]);
    wire.receive({ type: 'ok', ref: 'r1', seq: 1 });
    expect(chat.pending).toHaveLength(1);
    wire.receive(say(1, 'hello', you.id));
    expect(chat.pending).toEqual([]);
    await expect(said).resolves.toBeUndefined();
  });

  it('asks again with the same reference after a reconnect, from where it was', () => {
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(0));
    wire.receive(say(1, 'x'));
    void chat.say('is this heard?');
    wire.drop();
    expect(chat.online).toBe(false);
    void chat.say('written while away');

    const second = new FakeWire();
    chat.attach(second);
    second.open();
    expect(second.messages[0]).toMatchObject({ type: 'hello', since: 1 });
    expect(second.messages).toHaveLength(1);
    second.receive(welcome(1));
    expect(second.messages.slice(1)).toEqual([
      { type: 'say', text: 'is this heard?', ref: 'r1' },
      { type: 'say', text: 'written while away', ref: 'r2' },
    ]);
  });

  it('shows what was refused, with the reason, until it is dismissed', async () => {
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(0));
    const said = chat.say('too long');
    wire.receive({ type: 'error', ref: 'r1', code: 'message_too_large', message: 'long' });
    await expect(said).rejects.toMatchObject({ code: 'message_too_large' });
    expect(chat.pending[0]?.problem?.code).toBe('message_too_large');
    chat.dismiss('r1');
    expect(chat.pending).toEqual([]);
  });

  it('waits as long as the server asks when it was too fast', async () => {
    vi.useFakeTimers();
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(0));
    void chat.hand(true);
    wire.receive({ type: 'error', ref: 'r1', code: 'rate_limited', retry_after_ms: 80 });
    const before = wire.sent.length;
    await vi.advanceTimersByTimeAsync(79);
    expect(wire.sent).toHaveLength(before);
    await vi.advanceTimersByTimeAsync(2);
    expect(wire.messages.at(-1)).toEqual({ type: 'hand', up: true, ref: 'r1' });
    vi.useRealTimers();
  });

  it('joins anew when it lags', () => {
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(0));
    wire.receive(say(1, 'x'));
    wire.receive({ type: 'lagging', seq: 1 });
    expect(wire.messages.at(-1)).toMatchObject({ type: 'hello', since: 1 });
  });

  it('begins again when the room has another past', () => {
    const reset = vi.fn();
    chat.on('reset', reset);
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(0));
    wire.receive(say(9, 'x'));
    wire.receive(welcome(2));
    expect(reset).toHaveBeenCalledOnce();
    wire.receive(say(1, 'y'));
    expect(chat.seq).toBe(1);
  });

  it('tells what the channel left out', () => {
    const truncated = vi.fn();
    chat.on('truncated', truncated);
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(900));
    wire.receive({ type: 'truncated', from: 401 });
    expect(truncated).toHaveBeenCalledWith({ since: 0, from: 401 });
  });

  it('knows who is here and whose hand is up', () => {
    chat.attach(wire);
    wire.open();
    wire.receive(welcome(0, [you, { id: 't-1', name: 'Ada', role: 'teacher' }]));
    wire.receive({ type: 'hand', seq: 1, at: 50, by: 'u-7', up: true });
    expect(chat.roster.hands).toEqual([{ person: { ...you, hand: true }, at: 50 }]);
    wire.receive({ type: 'hand', seq: 2, at: 60, by: 't-1', who: 'u-7', up: false });
    expect(chat.roster.hands).toEqual([]);
    wire.receive({
      type: 'people',
      seq: 3,
      at: 70,
      joined: [{ id: 'u-9', name: 'Mo', role: 'student' }],
      left: ['u-7'],
      total: 2,
    });
    expect(chat.roster.people.map((p) => p.name)).toEqual(['Ada', 'Mo']);
  });
});
