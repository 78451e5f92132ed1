/** Commands against a CA that answers, and counts what would change it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { caProgram } from '@chancery/ca/cli/program.ts';
import { OperatorService } from '@chancery/proto/gen/chancery/v1/operator.ts';
import { runProgram } from '@chancery/shared/cli/program.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { silentLog } from '@chancery/shared/ground/log.ts';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { makeFolder, removeFolder } from '../kit/processes.ts';

const times = { at: 0n, until: 0n };
const revocation = {
  number: 3n,
  kind: 'id',
  value: 'spiffe://a/b',
  reason: 'keyCompromise',
  by: '',
  ...times,
};
const use = { number: 4n, verb: 'unrevoke', about: 'revocation 3', digest: 'd', by: 'ada', ...times };

let dir: string;
let changes: string[];
const server = new grpc.Server();
const answering = (answer: object) => (_: unknown, done: grpc.sendUnaryData<object>) => done(null, answer);
const changing =
  (name: string, answer: object): grpc.handleUnaryCall<object, object> =>
  (_, done) => {
    changes.push(name);
    done(null, answer);
  };
beforeAll(async () => {
  dir = makeFolder();
  mkdirSync(join(dir, 'data'));
  const fixed = { trustDomain: 'prod.example', listen: '127.0.0.1:1', attestors: { unix: {} } };
  const config = { ...fixed, dataDir: 'data', keyEncryptionKey: 'key' };
  writeFileSync(join(dir, 'ca.yaml'), stringify(config));
  writeFileSync(join(dir, 'there.pem'), '');
  const { listRevocations, liftRevocation, listRequests, withdraw } = OperatorService;
  const { listAuthorityRequests, askForAuthority } = OperatorService;
  server.addService(
    { listRevocations, liftRevocation, listRequests, withdraw, listAuthorityRequests, askForAuthority },
    {
      listRevocations: answering({ revocations: [revocation] }),
      liftRevocation: changing('lift', { revocation, still: [] }),
      listRequests: answering({ requests: [{ ...use, countersignedBy: '' }] }),
      withdraw: changing('withdraw', { request: { ...use, countersignedBy: '' } }),
      listAuthorityRequests: answering({ requests: [] }),
      askForAuthority: changing('ask', { requests: [] }),
    },
  );
  const address = `unix:${join(dir, 'data', 'admin.sock')}`;
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
});
beforeEach(() => {
  changes = [];
});
afterAll(() => {
  server.forceShutdown();
  removeFolder(dir);
});

async function cli(...args: readonly string[]) {
  let [out, err] = ['', ''];
  const deps = { clock: systemClock, ownUid: 0, logAt: () => silentLog };
  const program = caProgram({ ...deps, random: (size) => new Uint8Array(size) }, '1');
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

test.each<[readonly string[], RegExp, string]>([
  [['unrevoke', '3'], /^would lift revocation 3: id spiffe:\/\/a\/b$/m, 'lift'],
  [['countersign', '4', '--withdraw'], /^would withdraw request 4: unrevoke revocation 3$/m, 'withdraw'],
  [['authorities', 'request'], /^nothing is open: would ask the offline root for an intermediate$/m, 'ask'],
])('%s --dry-run says what it would do, and changes nothing', async (args, says, change) => {
  expect(await cli(...args, '--dry-run')).toMatchObject({ status: 0, out: expect.stringMatching(says) });
  expect(changes).toEqual([]);
  expect(await cli(...args)).toMatchObject({ status: 0 });
  expect(changes).toEqual([change]);
});

test('a dry run of what is not there fails as the command does', async () => {
  const none = { status: 1, err: expect.stringMatching(/there is no revocation 9 in force/) };
  expect(await cli('unrevoke', '9', '--dry-run')).toMatchObject(none);
  const request = { status: 1, err: expect.stringMatching(/no request of this number waits/) };
  expect(await cli('countersign', '9', '--withdraw', '--dry-run')).toMatchObject(request);
});

test('authorities request looks at its file before it asks', async () => {
  const ran = await cli('authorities', 'request', '-o', join(dir, 'there.pem'));
  expect(ran).toMatchObject({
    status: 1,
    err: expect.stringMatching(/is there already: name another folder/),
  });
  expect(changes).toEqual([]);
});
