/** A page and what its address says. */
export type Route =
  | { page: 'home' }
  | { page: 'studio'; room: string }
  | { page: 'class'; room: string }
  | { page: 'archive' }
  | { page: 'lecture'; id: string }
  | { page: 'diagnose' }
  | { page: 'admin' }
  | { page: 'none' };

/** Which page a path leads to. */
export function match(path: string): Route {
  const parts = path.split('/').filter(Boolean);
  let words: string[];
  try {
    words = parts.map(decodeURIComponent);
  } catch {
    return { page: 'none' };
  }
  const [first, second] = words;
  if (words.length === 0) return { page: 'home' };
  if (words.length === 1 && first === 'archive') return { page: 'archive' };
  if (words.length === 1 && first === 'diagnose') return { page: 'diagnose' };
  if (words.length === 1 && first === 'admin') return { page: 'admin' };
  if (words.length !== 2 || !second) return { page: 'none' };
  if (first === 'studio') return { page: 'studio', room: second };
  if (first === 'r') return { page: 'class', room: second };
  if (first === 'archive') return { page: 'lecture', id: second };
  return { page: 'none' };
}

export const studioPath = (room: string) => `/studio/${encodeURIComponent(room)}`;
export const classPath = (room: string) => `/r/${encodeURIComponent(room)}`;
/** room: in whose name it is asked; '' none. */
export const diagnosePath = (room: string) =>
  room ? `/diagnose?room=${encodeURIComponent(room)}` : '/diagnose';
export const lecturePath = (id: string) => `/archive/${encodeURIComponent(id)}`;

/** Goes to a page of ours from where no router is at hand. */
export function visit(path: string): void {
  history.pushState(null, '', path);
  dispatchEvent(new PopStateEvent('popstate'));
}

/** The address of the browser as state. One per page load. */
export class Router {
  #path = $state(location.pathname);
  #query = $state.raw(new URLSearchParams(location.search));
  /** Asked before the page is left; false keeps it. */
  guard: (() => boolean) | undefined;
  readonly route = $derived(match(this.#path));

  get query(): URLSearchParams {
    return this.#query;
  }

  /** Listens to the browser and to clicks on links until signal aborts. */
  listen(signal: AbortSignal): void {
    addEventListener('popstate', () => this.#read(), { signal });
    document.addEventListener('click', (event) => this.#click(event), { signal });
  }

  go(href: string, replace = false): void {
    if (this.guard && !this.guard()) return;
    this.guard = undefined;
    if (replace) history.replaceState(null, '', href);
    else history.pushState(null, '', href);
    this.#read();
    scrollTo(0, 0);
  }

  #read(): void {
    this.#path = location.pathname;
    this.#query = new URLSearchParams(location.search);
  }

  #click(event: MouseEvent): void {
    const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (event.defaultPrevented || event.button !== 0 || !plain) return;
    const link = (event.target as Element | null)?.closest('a');
    if (!link || link.target || link.hasAttribute('download')) return;
    const url = new URL(link.href, location.href);
    if (url.origin !== location.origin || match(url.pathname).page === 'none') return;
    if (url.pathname === location.pathname && url.search === location.search && url.hash) return;
    event.preventDefault();
    this.go(url.pathname + url.search + url.hash);
  }
}
