import type { LinkState } from './link.ts';

/** How a link stands that is not up; each has its sentence. */
export type Standing = 'lost' | 'stopped' | 'offline' | 'restarting' | 'away' | 'blocked' | 'full';

const byCode: Record<string, Standing> = {
  offline: 'offline',
  shutting_down: 'restarting',
  network: 'away',
  no_path: 'blocked',
  rate_limited: 'full',
  room_full: 'full',
  too_many: 'full',
};

/** What to say of a link that is on its way back. */
export function standingOf({ problem, step, attempt }: LinkState): Standing {
  const known = byCode[problem?.code ?? ''];
  if (known) return known;
  // The way is there and nothing comes: the cause is most likely at the other end.
  if (step === 'media' && attempt === 0) return 'stopped';
  return step === 'server' && attempt > 1 ? 'away' : 'lost';
}

/** Whole seconds until the next attempt; 0 while one is under way. */
export function secondsTo({ retryAt }: LinkState, now: number): number {
  return retryAt > now ? Math.ceil((retryAt - now) / 1000) : 0;
}
