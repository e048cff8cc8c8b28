// Fails the build when a page would load more than its budget.
//
// "entry" is what every page loads first: index.html's own scripts and styles
// with all their static imports. "total" is everything a visitor could load.
// Sizes are KiB after gzip at level 9.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const budgets = { entry: 110, player: 300, total: 460 };

const dist = new URL('../dist/', import.meta.url).pathname;
writeFileSync(join(dist, '.keep'), '');

/** @param {string} name */
function size(name) {
  return gzipSync(readFileSync(join(dist, name)), { level: 9 }).length / 1024;
}

/** Files that name loads without being asked, itself included.
 * @param {string} name
 * @param {Set<string>} seen */
function closure(name, seen = new Set()) {
  if (seen.has(name)) return seen;
  seen.add(name);
  const text = readFileSync(join(dist, name), 'utf8');
  const found = name.endsWith('.html')
    ? text.matchAll(/(?:src|href)="\/(assets\/[^"]+\.(?:js|css))"/g)
    : text.matchAll(/(?:import|from)\s*"\.\/([^"]+\.js)"/g);
  for (const match of found) {
    const file = match[1] ?? '';
    closure(file.startsWith('assets/') ? file : `assets/${file}`, seen);
  }
  return seen;
}

const all = readdirSync(join(dist, 'assets')).filter((f) =>
  statSync(join(dist, 'assets', f)).isFile(),
);
const sum = (/** @type {Iterable<string>} */ names) => [...names].reduce((n, f) => n + size(f), 0);
const player = all.filter((f) => f.startsWith('shaka'));

const sizes = {
  entry: sum(closure('index.html')),
  player: sum(player.map((f) => `assets/${f}`)),
  total: sum(all.map((f) => `assets/${f}`)),
};

let failed = false;
for (const [part, limit] of Object.entries(budgets)) {
  const got = sizes[/** @type {keyof typeof sizes} */ (part)];
  const over = got > limit;
  failed ||= over;
  console.log(
    `${part.padEnd(7)} ${got.toFixed(1).padStart(7)} KiB of ${limit}${over ? '  OVER BUDGET' : ''}`,
  );
}
if (failed) process.exitCode = 1;
