// Drives a browser for play_test.go: reads scenes from standard input, one JSON text a line, plays each in a
// page of its own, and writes a report of each to standard output; before the first, that it is ready. Ends
// the browser when the input ends, whatever is played then: so it does not outlive a test that was killed.
//
// usage: node play.mjs PAGE PROFILE

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [page, profile] = process.argv.slice(2);

// The browser is started here, and not by the library, which would give it a process group of its own:
// whoever ends this group ends all.
const browser = spawn('chromium', [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--mute-audio', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--autoplay-policy=no-user-gesture-required', '--remote-debugging-port=0', `--user-data-dir=${profile}`,
], { stdio: ['ignore', 'ignore', 'pipe'] });

// endpoint is where the browser says that it listens.
async function endpoint() {
  for await (const line of createInterface({ input: browser.stderr })) {
    const [, url] = line.match(/^DevTools listening on (ws:.*)/) ?? [];
    if (url) return url;
    console.error(line);
  }
  throw new Error('the browser ended before it listened');
}

async function play(context, scene) {
  const tab = await context.newPage();
  tab.on('console', message => console.error(message.text()));
  tab.on('pageerror', error => console.error(error));
  await tab.goto(page);
  const report = await tab.evaluate(s => globalThis.play(s), scene);
  await tab.screenshot({ path: scene.shot });
  await tab.close();
  return report;
}

// Nothing has a time-out here: who reads the reports has one.
const driven = await chromium.connectOverCDP(await endpoint(), { timeout: 0 });
browser.stderr.resume();
browser.on('exit', () => process.exit());
const [context] = driven.contexts();
context.setDefaultTimeout(0);
const session = await driven.newBrowserCDPSession();
const scenes = createInterface({ input: process.stdin });
scenes.on('close', () => session.send('Browser.close').catch(() => {})); // the answer may not come any more
console.log('{"ready":true}');
for await (const line of scenes) {
  console.log(JSON.stringify(await play(context, JSON.parse(line))));
}
