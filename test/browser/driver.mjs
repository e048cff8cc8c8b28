// Drives one browser for the end-to-end tests. Reads one JSON command per line
// on stdin, {id, op, page?, ...}, and answers on stdout with {id, ok, value} or
// {id, ok: false, error}. Ends, with its browser, when stdin does.
//
//   node driver.mjs chromium|firefox
import { createInterface } from "node:readline";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const engine = process.argv[2];
const profile = mkdtempSync(join(tmpdir(), "lectern-browser-"));
const pages = new Map();
const logs = new Map();
let nextPage = 1;

const chromiumArgs = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-renderer-backgrounding",
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
];

const firefoxPrefs = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.peerconnection.ice.loopback": true,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  "network.process.enabled": true,
  "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
};

async function launch() {
  if (engine === "chromium") {
    const { chromium } = await import("playwright-core");
    const context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: chromiumArgs,
      headless: true,
      permissions: ["camera", "microphone"],
      viewport: { width: 1280, height: 800 },
    });
    return {
      newPage: () => context.newPage(),
      setInput: (page, selector, file) => page.setInputFiles(selector, file),
      fill: (page, selector, text) => page.fill(selector, text),
      close: () => context.close(),
    };
  }
  const puppeteer = (await import("puppeteer-core")).default;
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    headless: true,
    userDataDir: profile,
    defaultViewport: { width: 1280, height: 800 },
    extraPrefsFirefox: firefoxPrefs,
  });
  return {
    newPage: () => browser.newPage(),
    setInput: async (page, selector, file) => (await page.$(selector)).uploadFile(file),
    fill: (page, selector, text) => page.locator(selector).fill(text),
    close: () => browser.close(),
  };
}

const browser = await launch();

function remember(id, line) {
  const l = logs.get(id);
  if (l.length < 500) l.push(line);
}

const ops = {
  async open({ url }) {
    const page = await browser.newPage();
    const id = nextPage++;
    pages.set(id, page);
    logs.set(id, []);
    page.on("console", (m) => remember(id, `${m.type()}: ${m.text()}`));
    page.on("pageerror", (e) => remember(id, `pageerror: ${e.message}`));
    await page.goto(url, { waitUntil: "load", timeout: 20000 });
    return id;
  },
  goto: ({ page, url }) => page.goto(url, { waitUntil: "load", timeout: 20000 }).then(() => null),
  // The script is the body of an async function of arg; what it returns must be
  // JSON. A string, since the pages' CSP forbids making functions from text.
  eval: ({ page, script, arg }) => page.evaluate(`(async (arg) => { ${script} })(${JSON.stringify(arg ?? null)})`).then((v) => v ?? null),
  click: ({ page, selector, timeout }) => page.click(selector, { timeout: timeout ?? 10000 }).then(() => null),
  fill: ({ page, selector, text }) => browser.fill(page, selector, text).then(() => null),
  press: ({ page, key }) => page.keyboard.press(key).then(() => null),
  files: ({ page, selector, file }) => browser.setInput(page, selector, file).then(() => null),
  wait: ({ page, selector, timeout }) => page.waitForSelector(selector, { timeout: timeout ?? 15000, state: "visible", visible: true }).then(() => null),
  text: ({ page, selector }) => page.$eval(selector, (e) => e.textContent),
  shot: ({ page, file }) => page.screenshot({ path: file }).then(() => null),
  size: ({ page, width, height }) =>
    (page.setViewportSize ? page.setViewportSize({ width, height }) : page.setViewport({ width, height })).then(() => null),
  logs: ({ pageId }) => logs.get(pageId),
  async close({ page, pageId }) {
    pages.delete(pageId);
    await page.close();
    return null;
  },
};

function reply(msg) {
  process.stdout.write(JSON.stringify(msg) + "\n");
}

async function handle(line) {
  const cmd = JSON.parse(line);
  try {
    const page = cmd.page === undefined ? undefined : pages.get(cmd.page);
    if (cmd.page !== undefined && !page) throw new Error(`no page ${cmd.page}`);
    const value = await ops[cmd.op]({ ...cmd, page, pageId: cmd.page });
    reply({ id: cmd.id, ok: true, value });
  } catch (e) {
    reply({ id: cmd.id, ok: false, error: String(e?.stack ?? e) });
  }
}

async function end() {
  await Promise.race([browser.close().catch(() => {}), new Promise((r) => setTimeout(r, 5000))]);
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  process.exit(0);
}

reply({ id: 0, ok: true, value: engine });
const lines = createInterface({ input: process.stdin });
lines.on("line", handle);
lines.on("close", end);
