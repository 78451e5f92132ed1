import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ownUid } from '../../../../test/kit/observe/agent-cli.ts';
import { changeOf, writeChange } from './client-file.ts';

const dir = fs.mkdtempSync(join(tmpdir(), 'chy-'));
afterAll(() => fs.rmSync(dir, { recursive: true }));
const entry = { servers: 'mcpServers', name: 'github', value: {} };

/** Claude Code writes its file while it runs. */
test('a file that another program has changed meanwhile is left as it is', () => {
  const file = join(dir, 'mcp.json');
  fs.writeFileSync(file, '{}', { mode: 0o600 });
  const change = changeOf(file, entry, { called: 'Claude Code', hasComments: false, uid: ownUid });
  fs.writeFileSync(file, '{"numStartups": 2}');
  expect(() => change && writeChange(change, new Date(0))).toThrow(/just been changed by another program/);
  expect(fs.readFileSync(file, 'utf8')).toBe('{"numStartups": 2}');
});

/** The owner would change, since a new file takes the place of the old one. */
test('a file of root is not replaced by another user', () => {
  const file = join(dir, 'root.json');
  fs.writeFileSync(file, '{}', { mode: 0o600 });
  const reader = { called: 'Claude Code', hasComments: false, uid: ownUid + 1 };
  expect(() => changeOf(file, entry, reader)).toThrow(
    /root\.json: it belongs to uid \d+, and this is uid \d+/,
  );
});
