/** I32: the CA is killed in the middle of issuing, again and again, and nothing is lost or unrecorded. */

import { join as joinPath } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { unixEvidence } from '@chancery/agent/evidence/unix.ts';
import { tlsTarget, unixTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import { bootstrapBundle } from '@chancery/agent/trust/bootstrap.ts';
import { readStatus } from '@chancery/agent/workload/attach.ts';
import { AttestationClient, IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  type CaFolder,
  makeAgent,
  makeFolder,
  type Running,
  removeFolder,
  serveUnixCa,
} from '../kit/processes.ts';

const TRUST_DOMAIN = 'crash.example';
const LOAD = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/load`);
const KILLS = 20;
const WORKERS = 8;
/** An agent looks for its CA again within half a minute. */
const PATIENCE = { timeout: 180_000, interval: 200 };

let dir: string;
let ca: CaFolder;
let serving: Running;
beforeAll(async () => {
  dir = makeFolder();
  ({ ca, serving } = await serveUnixCa(dir, TRUST_DOMAIN, [
    {
      kind: 'Identity',
      name: 'a-agent',
      platform: 'unix',
      id: `spiffe://${TRUST_DOMAIN}/agent`,
      // Longer than the kills take on a busy machine: the CA is up for moments only, which a renewal may miss.
      x509: { ttl: '1h' },
    },
    { kind: 'Identity', name: 'b-load', platform: 'unix', id: LOAD },
  ]));
});
afterAll(async () => {
  await serving.stop('SIGKILL');
  removeFolder(dir);
});

test(`I32 killed ${KILLS} times under load: every certificate is on record, and the agent carries on`, async () => {
  const agent = makeAgent(ca, 'agent', { evidence: { unix: {} }, id: `spiffe://${TRUST_DOMAIN}/agent` });
  const running = await agent.run();
  const load = await startLoad();
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Somewhere in the middle of issuing: after some more certificates than last time.
    const before = load.serials.size;
    while (load.serials.size < before + 5 + kill) await sleep(1);
    await serving.stop('SIGKILL');
    serving = await ca.serve();
  }
  await load.stop();
  await vi.waitFor(async () => expect((await ca.cli('agents')).stdout).toContain('/agent '), PATIENCE);
  expect(await readStatus(agent.socket)).toMatchObject({ expired: false });
  await running.stop();
  await serving.stop('SIGKILL');
  const { recorded, logged } = readDatabase();
  expect([...load.serials].filter((serial) => !recorded.has(serial))).toEqual([]);
  // One transaction each: a record without its audit entry, or the other way round, cannot be.
  expect(recorded).toEqual(logged);
  expect(load.serials.size).toBeGreaterThan(KILLS * 5);
  serving = await ca.serve();
}, 1_200_000);

/** Clients that ask for certificates without a pause and keep the serial of each one they got. */
async function startLoad() {
  const trustDomain = parseTrustDomain(TRUST_DOMAIN);
  const address = `127.0.0.1:${ca.port}`;
  const bundle = await bootstrapBundle({ trustDomain, address, bundleFile: ca.bundle, pin: undefined });
  const socket = unixTarget(ca.joinSocket);
  const joining = new AttestationClient(socket.address, socket.credentials, socket.options);
  const request = {
    evidence: unixEvidence(),
    bundle,
    id: LOAD,
    instance: new Uint8Array(16),
    clock: systemClock,
  };
  const svid = await join(joining, { ...request, signal: AbortSignal.timeout(60_000) });
  joining.close();
  const serials = new Set<string>();
  const csr = Buffer.from(await writeCsr(signerOf(generateKey())));
  let going = true;
  const work = async (): Promise<void> => {
    const target = tlsTarget(address, bundle, svid, systemClock);
    const client = new IdentityClient(target.address, target.credentials, {
      ...target.options,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 200,
    });
    while (going) {
      const leaf = await new Promise<Buffer | undefined>((resolve) => {
        client.issueX509({ csrs: [csr], succeeds: Buffer.alloc(0) }, (_, answer) =>
          resolve(answer?.issued[0]?.chain[0]),
        );
      });
      if (leaf === undefined) await sleep(20);
      else serials.add(Buffer.from(parseCertificate(leaf).serial).toString('hex'));
    }
    client.close();
  };
  const workers = Array.from({ length: WORKERS }, work);
  return {
    serials,
    stop: async () => {
      going = false;
      await Promise.all(workers);
    },
  };
}

function readDatabase() {
  const db = new DatabaseSync(joinPath(dir, 'data', 'ca.db'));
  const rows = (sql: string) =>
    new Set(
      db
        .prepare(sql)
        .all()
        .map((row) => String(row['serial'])),
    );
  const recorded = rows('SELECT lower(hex(serial)) AS serial FROM certificates');
  const logged = rows(
    "SELECT json_extract(event, '$.serial') AS serial FROM audit WHERE json_extract(event, '$.type') = 'svid.issuing'",
  );
  db.close();
  return { recorded, logged };
}
