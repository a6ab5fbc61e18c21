// Drives a browser for play_test.go. It reads scenes from standard input, one JSON text a line, plays each in a new
// page, and writes a report of each to standard output, after a first line that says that it is ready. It ends the
// browser when the input ends, also during a scene, so that the browser does not outlive a killed test.
//
// usage: node play.mjs PAGE PROFILE

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [page, profile] = process.argv.slice(2);

// This script starts the browser, not the library, which would give it its own process group: ending this group ends
// all processes.
const browser = spawn('chromium', [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--mute-audio', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--autoplay-policy=no-user-gesture-required', '--remote-debugging-port=0', `--user-data-dir=${profile}`,
], { stdio: ['ignore', 'ignore', 'pipe'] });

// endpoint is the address at which the browser listens.
async function endpoint() {
  for await (const line of createInterface({ input: browser.stderr })) {
    const [, url] = line.match(/^DevTools listening on (ws:.*)/) ?? [];
    if (url) return url;
    console.error(line);
  }
  throw new Error('the browser ended before it listened');
}

// upload chooses a file on deploy/clients/typescript/upload.html, and waits until it plays and has a certain status, or
// until something has failed.
async function upload(tab, scene) {
  await tab.setInputFiles('#file', scene.file);
  const state = () => {
    const [status, bar, player] = ['status', 'bar', 'player'].map(id => document.getElementById(id));
    return { status: status.textContent, progress: bar.value, time: player.currentTime, width: player.videoWidth };
  };
  await tab.waitForFunction(until => {
    const said = document.getElementById('status').textContent;
    if (!/^(Choose a file|Uploading|It is (queued|inspecting|processing|ready)$)/.test(said)) return true;
    return said === until && document.getElementById('player').currentTime > 0;
  }, scene.until);
  return tab.evaluate(state);
}

async function play(context, scene) {
  const tab = await context.newPage();
  tab.on('console', message => console.error(message.text()));
  tab.on('pageerror', error => console.error(error));
  await tab.goto(page);
  const report = scene.file ? await upload(tab, scene) : await tab.evaluate(s => globalThis.play(s), scene);
  if (scene.shot) await tab.screenshot({ path: scene.shot });
  await tab.close();
  return report;
}

// Nothing has a time-out here: the reader of the reports has one.
const driven = await chromium.connectOverCDP(await endpoint(), { timeout: 0 });
browser.stderr.resume();
browser.on('exit', () => process.exit());
const [context] = driven.contexts();
context.setDefaultTimeout(0);
const session = await driven.newBrowserCDPSession();
const scenes = createInterface({ input: process.stdin });
scenes.on('close', () => session.send('Browser.close').catch(() => {})); // there may be no answer
console.log('{"ready":true}');
for await (const line of scenes) {
  console.log(JSON.stringify(await play(context, JSON.parse(line))));
}
