/** Commands of this release against a CA of an older one, which leaves out what it does not know. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { runProgram } from '@chancery/shared/cli/program.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { makeFolder, removeFolder } from '../../../../test/kit/processes.ts';
import { apply } from './apply.ts';
import { agents } from './queries.ts';
import { revocations, revoke } from './revoke.ts';

const web = {
  spiffeId: 'spiffe://prod.example/web',
  address: '127.0.0.1',
  version: '1',
  connectedAt: 0n,
  certificateNotAfter: 0n,
  acknowledgedSequence: 5n,
  serial: '40aa',
  acknowledged: undefined,
};
const revocation = {
  number: 1n,
  kind: 'id',
  value: web.spiffeId,
  reason: 'keyCompromise',
  by: '',
  at: 0n,
  until: 0n,
};
const change = { change: 'removed', kind: 'Access', name: 'all', diff: '' };

let dir: string;
const server = new grpc.Server();
beforeAll(async () => {
  dir = makeFolder();
  mkdirSync(join(dir, 'data'));
  const fixed = { trustDomain: 'prod.example', listen: '127.0.0.1:1', attestors: { unix: {} } };
  const config = { ...fixed, dataDir: 'data', keyEncryptionKey: 'key' };
  writeFileSync(join(dir, 'ca.yaml'), stringify(config));
  writeFileSync(join(dir, 'none.yaml'), '');
  const { listAgents, apply: applySet, revoke: revokeOne } = OperatorService;
  server.addService(
    { listAgents, apply: applySet, revoke: revokeOne },
    {
      listAgents: (_: unknown, answer: grpc.sendUnaryData<object>) =>
        answer(null, { agents: [web], current: undefined, away: [], awayCount: 0n }),
      apply: (stream: grpc.ServerDuplexStream<{ dryRun: boolean }, object>) => {
        let isDry = false;
        stream.on('data', ({ dryRun }) => {
          isDry = dryRun;
        });
        stream.on('end', () => {
          const changes = isDry ? [] : [change];
          stream.write({ changes, version: 2n, warnings: [], losses: [], unacknowledged: undefined });
          stream.end();
        });
      },
      revoke: ({ request }: { request: { dryRun: boolean } }, answer: grpc.sendUnaryData<object>) =>
        answer(null, {
          revocation: request.dryRun ? undefined : revocation,
          certificates: 1n,
          agents: 1n,
          spiffeIds: [],
          value: web.spiffeId,
          unacknowledged: undefined,
        }),
    },
  );
  const address = `unix:${join(dir, 'data', 'admin.sock')}`;
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
});
afterAll(() => {
  server.forceShutdown();
  removeFolder(dir);
});

async function cli(...args: readonly string[]) {
  let [out, err] = ['', ''];
  const program = { name: 'ca', says: '', version: '1', commands: { agents, apply, revoke, revocations } };
  const status = await runProgram(program, [...args, '--config', join(dir, 'ca.yaml')], {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: {},
    signal: AbortSignal.timeout(60_000),
    input: async () => '',
    isTerminal: false,
  });
  return { status, out, err };
}

const REVOKE = ['revoke', web.spiffeId, '--reason', 'keyCompromise'];
const older = (what: string) =>
  new RegExp(`${what} is not known: the CA that runs is of an older release\\. Restart it with this one\n$`);

test('agents: what each has acknowledged is not known', async () => {
  const { out, err } = await cli('agents');
  expect(out).toMatch(/ {2}not known\n$/);
  expect(err).toMatch(older('^what the agents have acknowledged, and who has no trust stream,'));
  const [listed] = JSON.parse((await cli('agents', '--json')).out);
  expect(listed).toMatchObject({ spiffeId: web.spiffeId, notAcknowledged: null });
});

test('agents --away: refuses, instead of listing nobody', async () => {
  expect(await cli('agents', '--away')).toMatchObject({
    status: 1,
    out: '',
    err: expect.stringMatching(older('who has no trust stream')),
  });
});

test.each([
  ['apply', () => ['apply', '-f', join(dir, 'none.yaml'), '--prune-all']],
  ['revoke', () => REVOKE],
])('%s: who has not acknowledged the change is not known', async (_, args) => {
  const made = await cli(...args());
  expect(made).toMatchObject({
    status: 0,
    err: expect.stringMatching(older('^who has not acknowledged it')),
  });
  expect(await cli(...args(), '--dry-run')).toMatchObject({ status: 0, err: '' });
});

test('a call that an older CA does not have is refused with what to do', async () => {
  const { status, err } = await cli('revocations');
  expect({ status, err }).toEqual({
    status: 1,
    err: expect.stringMatching(older('the call to .*admin.sock')),
  });
});
