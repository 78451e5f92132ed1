/** `chancery-ca reach` at a running CA, and by files without one. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type CaFolder, makeCa, makeFolder, type Running, removeFolder } from '../kit/processes.ts';

const TRUST_DOMAIN = 'reach.example';
const id = (path: string): string => `spiffe://${TRUST_DOMAIN}/${path}`;
const [TRIAGE, TOOLS] = [id('agents/triage'), id('tools/git')];
const RESOURCES = [
  { kind: 'Identity', name: 'triage', platform: 'unix', id: TRIAGE },
  { kind: 'McpServer', name: 'git', identity: TOOLS, address: 'git.example:443' },
  {
    kind: 'Access',
    name: 'readers',
    who: [id('agents/**')],
    servers: ['git'],
    tools: { allow: ['get-*'], deny: ['get-key'] },
  },
];

const dir = makeFolder();
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  ca = await makeCa(dir, TRUST_DOMAIN, { attestors: { unix: {} } });
  serving = await ca.serve();
  await ca.apply(RESOURCES);
});
afterAll(async () => {
  await serving.stop();
  removeFolder(dir);
});

const TABLE = 'WHO                                   SERVER  TOOLS  EXCEPT   RULES';

test('shows what an identity may call, and who may call what it serves', async () => {
  expect(await ca.cli('reach', TRIAGE)).toEqual({
    status: 0,
    stdout: `${TRIAGE} may call:\n${TABLE}\n${TRIAGE}  git     get-*  get-key  readers\n`,
    stderr: '',
  });
  const served = await ca.cli('reach', TOOLS);
  expect(served.stdout).toMatch(
    /^spiffe:.* may call nothing\nwho may call at what spiffe:.* serves:\n.*\nspiffe:\/\/reach.example\/agents\/\*\* .*\n$/,
  );
});

test('answers by tool and by server, as JSON and as a graph', async () => {
  const denied = await ca.cli('reach', '--server', 'git', '--tool', 'get-key');
  expect(denied).toMatchObject({ status: 0, stdout: 'nobody may call get-key at git\n' });
  const { stdout } = await ca.cli('reach', '--tool', 'get-issue', '--json');
  expect(JSON.parse(stdout)).toEqual({
    calls: [],
    callers: [
      {
        who: id('agents/**'),
        server: 'git',
        kind: 'tool',
        names: ['get-*'],
        except: [],
        exceptForSome: [],
        rules: ['readers'],
      },
    ],
    clear: [],
    observing: [],
    revoked: [],
  });
  const graph = await ca.cli('reach', '--server', 'git', '--graph', 'mermaid');
  expect(graph.stdout).toMatch(
    /^flowchart LR\n {2}n0\["spiffe:.*\n {2}n1\["git"\]\n {2}n0 -->\|".*"\| n1\n$/,
  );
});

test('says that the identity is revoked, until that is lifted', async () => {
  const cut = await ca.cli('revoke', '--pattern', id('agents/*'), '--reason', 'keyCompromise');
  expect(cut).toMatchObject({ status: 0, stdout: expect.stringMatching(/^revocation 1 is in force/) });
  const revoked = await ca.cli('reach', TRIAGE);
  expect(revoked).toMatchObject({ status: 0, stdout: expect.stringMatching(/ may call:\n/) });
  expect(revoked.stderr).toMatch(
    /^spiffe:.*triage is revoked, so that every gateway refuses it: revocation 1 of pattern spiffe:/,
  );
  await ca.cli('unrevoke', '1');
  expect(await ca.cli('reach', TRIAGE)).toMatchObject({ stderr: '' });
});

test('says that an identity is unknown, and what may be meant', async () => {
  const misspelt = await ca.cli('reach', TRIAGE.replace('triage', 'triaje'), '--server', 'git');
  expect(misspelt).toMatchObject({ status: 0, stderr: '' });
  const other = await ca.cli('reach', `${TRIAGE.replace('/agents/', '/agent/')}`);
  expect(other.stderr).toMatch(/^no Identity can give spiffe:\S+, and no McpServer and no Access names it/);
  const both = await ca.cli('reach', TRIAGE, '--graph', 'dot', '--json');
  expect(both).toMatchObject({ status: 2, stderr: expect.stringMatching(/^--graph prints no JSON/) });
});

test('reads files without the CA', async () => {
  const file = join(dir, 'other.yaml');
  writeFileSync(
    file,
    RESOURCES.slice(0, 2)
      .map((each) => stringify(each))
      .join('---\n'),
  );
  expect(await ca.cli('reach', TRIAGE, '-f', file)).toEqual({
    status: 0,
    stdout: `${TRIAGE} may call nothing\n`,
    stderr: '',
  });
});

test.each([
  [['reach'], 2, /^give a SPIFFE ID, --server or --tool/],
  [['reach', TRIAGE, TOOLS], 2, /^one SPIFFE ID is expected, found 2/],
  [['reach', 'triage'], 2, /^one whole SPIFFE ID is expected, found "triage": SPIFFE ID does not start/],
  [['reach', TRIAGE, '--graph', 'svg'], 2, /^--graph is mermaid or dot, found "svg"/],
  [['reach', '--server', 'none'], 1, /^chancery-ca: no McpServer\/none is in force/],
])('refuses %j', async (args, status, says) => {
  const ran = await ca.cli(...args);
  expect(ran).toMatchObject({ status, stdout: '', stderr: expect.stringMatching(says) });
});
