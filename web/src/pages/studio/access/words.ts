import { i18n } from '../../../i18n/index.svelte.ts';
import type { Mode } from '../../../lib/access.ts';

/** What somebody with the address of the class may do with it. */
export function linkHint(mode: Mode | undefined): string {
  const { studio, access } = i18n.t;
  return !mode || mode === 'link' ? studio.inviteHint : access.quick[mode];
}
