/**
 * Whether a key was pressed for the page, not for a field, a button's own use
 * or a shortcut of the browser.
 */
export function forPage(event: KeyboardEvent): boolean {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  const target = event.target as Element | null;
  if (target?.closest('input, textarea, select, dialog, [contenteditable], [role="tablist"]')) {
    return false;
  }
  // Space and Enter press what has the focus.
  return !([' ', 'Enter'].includes(event.key) && target?.closest('button, a, summary'));
}
