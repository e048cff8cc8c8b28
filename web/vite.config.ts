import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// Where `npm run dev` finds a running server for everything that is not a page.
const server = process.env['LECTERN_DEV_SERVER'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte()],
  build: {
    // What light-dark() and AbortSignal.any need; older ones would get them translated, and
    // a translated light-dark() no longer follows the color-scheme of the element it is used in.
    target: ['chrome123', 'edge123', 'firefox124', 'safari17.5'],
    // The Content-Security-Policy allows no data: scripts or styles, so nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // dist/.keep is under version control; only the build's own files are replaced.
    emptyOutDir: true,
    chunkSizeWarningLimit: 1000,
    rolldownOptions: {
      output: {
        // A file of its own: it is large and changes only when its version does.
        codeSplitting: { groups: [{ name: 'shaka', test: /node_modules[\\/]shaka-player/ }] },
      },
    },
  },
  server: {
    proxy: Object.fromEntries(
      ['/api', '/whip', '/whep', '/healthz'].map((path) => [path, { target: server }]),
    ),
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
