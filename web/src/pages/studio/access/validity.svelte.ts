import { type Span, endOf, fromField, toField } from '../../../lib/access.ts';

/** From when until when something is to be valid, as a form holds it. */
export class Validity {
  span = $state<Span>('lesson');
  from = $state(toField(new Date()));
  until = $state(toField(endOf('week', Date.now())));

  constructor(span: Span) {
    this.span = span;
  }

  /** What to ask the server for; now is in ms since the epoch. */
  wish(now: number): { not_before?: string; expires?: string } {
    if (this.span !== 'other') return { expires: endOf(this.span, now).toISOString() };
    const from = fromField(this.from);
    const expires = fromField(this.until);
    return {
      // A start that has passed says nothing.
      ...(from && Date.parse(from) > now ? { not_before: from } : {}),
      ...(expires ? { expires } : {}),
    };
  }
}
