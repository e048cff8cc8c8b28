import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';
import svelteConfig from './svelte.config.js';

// The parser does not know the types of template expressions; svelte-check does.
const untyped = ['argument', 'assignment', 'call', 'member-access', 'return'];

export default ts.config(
  { ignores: ['dist/', 'node_modules/'] },
  js.configs.recommended,
  ...ts.configs.recommendedTypeChecked,
  ...svelte.configs.recommended,
  prettier,
  ...svelte.configs.prettier,
  {
    languageOptions: {
      globals: { ...globals.browser },
      parserOptions: {
        projectService: {
          allowDefaultProject: ['eslint.config.js', 'svelte.config.js', 'vite.config.ts'],
        },
        extraFileExtensions: ['.svelte'],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      'no-undef': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-misused-promises': [
        'error',
        { checksVoidReturn: { attributes: false } },
      ],
      // Text is text: nothing in the pages may write markup from a string.
      'no-restricted-properties': [
        'error',
        { property: 'innerHTML', message: 'Use textContent or a component.' },
        { property: 'outerHTML', message: 'Use textContent or a component.' },
      ],
      // A style attribute in markup is refused by the Content-Security-Policy; the style:
      // directive goes through the object model and is not.
      'no-restricted-syntax': [
        'error',
        {
          selector: 'SvelteAttribute[key.name="style"]',
          message: 'Use a class or the style: directive.',
        },
      ],
    },
  },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
    rules: {
      'svelte/no-at-html-tags': 'error',
      // Routes are plain paths; this project has no SvelteKit.
      'svelte/no-navigation-without-resolve': 'off',
      // Plain maps and dates are meant: what is reactive is $state.
      'svelte/prefer-svelte-reactivity': 'off',
      // It takes ignores with a reason for unused ones; svelte-check knows better.
      'svelte/no-unused-svelte-ignore': 'off',
    },
  },
  {
    files: ['**/*.svelte'],
    rules: Object.fromEntries(
      untyped.map((kind) => [`@typescript-eslint/no-unsafe-${kind}`, 'off']),
    ),
  },
  { files: ['**/*.js'], ...ts.configs.disableTypeChecked },
  { files: ['scripts/**', '*.js', '*.ts'], languageOptions: { globals: { ...globals.node } } },
);
