import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { silentLog } from '@chancery/shared/ground/log.ts';
import { beforeEach, expect, test } from 'vitest';
import { logOutputOf } from './server-log.ts';

let stderr: PassThrough;
let nowMs: number;
let logged: string[];
let leftOut: number[];
beforeEach(() => {
  stderr = new PassThrough();
  nowMs = 0;
  logged = [];
  leftOut = [];
  const info = ({ line }: { line?: string }): void => void logged.push(String(line));
  const warn = ({ lines }: { lines?: number }): void => void leftOut.push(Number(lines));
  logOutputOf(stderr, { ...silentLog, info, warn } as typeof silentLog, () => nowMs);
});

async function write(text: string): Promise<void> {
  await new Promise((resolve) => stderr.write(text, resolve));
}

async function end(): Promise<void> {
  const closed = once(stderr, 'close');
  stderr.end();
  await closed;
}

test('each line is one of our log, also where it comes in pieces or without an end', async () => {
  for (const piece of ['a', 'b\r\nc\n', 'd']) await write(piece);
  await end();
  expect(logged).toEqual(['ab', 'c', 'd']);
});

test('a line of more than 4 KiB is named, not kept', async () => {
  await write(`${'x'.repeat(5_000)}\nafter\n`);
  expect(logged).toEqual(['(a line of more than 4096 bytes)', 'after']);
});

test('200 lines a minute are logged, and how many more there were', async () => {
  await write('x\n'.repeat(203));
  expect([logged.length, leftOut]).toEqual([200, []]);
  nowMs = 60_000;
  await write('next\n');
  expect([logged.at(-1), leftOut]).toEqual(['next', [3]]);
});

test('the number of lines that were left out is logged at the end', async () => {
  await write('x\n'.repeat(201));
  await end();
  expect(leftOut).toEqual([1]);
});
