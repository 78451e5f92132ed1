/** Clients that ask a CA for certificates without a pause, and what its database says of them. */
import { join as joinPath } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { unixEvidence } from '@chancery/agent/evidence/unix.ts';
import { tlsTarget, unixTarget } from '@chancery/agent/svid/channel.ts';
import { join } from '@chancery/agent/svid/obtain.ts';
import { bootstrapBundle } from '@chancery/agent/trust/bootstrap.ts';
import { AttestationClient, IdentityClient } from '@chancery/proto/gen/chancery/v1/attestation.ts';
import { systemClock } from '@chancery/shared/ground/clock.ts';
import { generateKey, signerOf } from '@chancery/shared/keys/key.ts';
import { parseSpiffeId, parseTrustDomain } from '@chancery/shared/spiffe/id.ts';
import { parseCertificate } from '@chancery/shared/x509/certificate.ts';
import { writeCsr } from '@chancery/shared/x509/csr.ts';
import type { CaFolder } from '../processes.ts';

export interface Load {
  /** Of each certificate that a client got, in hexadecimal. */
  readonly serials: ReadonlySet<string>;
  /** How many requests had no certificate. */
  refused(): number;
  stop(): Promise<void>;
}

/** The `unix` attestor gives this process `id`. Each of the workers joins again before its certificate ends. */
export async function startLoad(ca: CaFolder, id: string, workers: number): Promise<Load> {
  const serials = new Set<string>();
  const csr = Buffer.from(await writeCsr(signerOf(generateKey())));
  let going = true;
  let refused = 0;
  const work = async (): Promise<void> => {
    while (going) {
      const joined = await connect(ca, id).catch(() => undefined);
      if (joined === undefined) refused += 1;
      while (going && joined !== undefined && Date.now() < joined.until) {
        const leaf = await issue(joined.client, csr);
        if (leaf !== undefined) serials.add(Buffer.from(parseCertificate(leaf).serial).toString('hex'));
        else {
          refused += 1;
          await sleep(20);
        }
      }
      joined?.client.close();
      if (joined === undefined) await sleep(100);
    }
  };
  const working = Array.from({ length: workers }, work);
  return {
    serials,
    refused: () => refused,
    stop: async () => {
      going = false;
      await Promise.all(working);
    },
  };
}

async function connect(ca: CaFolder, id: string) {
  const trustDomain = parseTrustDomain(ca.trustDomain);
  const address = `127.0.0.1:${ca.port}`;
  const bundle = await bootstrapBundle({ trustDomain, address, bundleFile: ca.bundle, pin: undefined });
  const socket = unixTarget(ca.joinSocket);
  const joining = new AttestationClient(socket.address, socket.credentials, socket.options);
  const about = { evidence: unixEvidence(), bundle, id: parseSpiffeId(id), instance: new Uint8Array(16) };
  const began = Date.now();
  try {
    const request = { ...about, clock: systemClock, signal: AbortSignal.timeout(60_000) };
    const svid = await join(joining, request);
    const target = tlsTarget(address, bundle, svid, systemClock);
    const client = new IdentityClient(target.address, target.credentials, {
      ...target.options,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 200,
    });
    return { client, until: (began + svid.notAfter.getTime()) / 2 };
  } finally {
    joining.close();
  }
}

const issue = (client: IdentityClient, csr: Buffer): Promise<Buffer | undefined> =>
  new Promise((resolve) => {
    client.issueX509({ csrs: [csr], succeeds: Buffer.alloc(0), scope: '' }, (_, answer) =>
      resolve(answer?.issued[0]?.chain[0]),
    );
  });

/** Of a CA that does not run: the serials that have a record, and those that have an entry of the log. */
export function readRecorded(ca: CaFolder) {
  const db = new DatabaseSync(joinPath(ca.dir, 'data', 'ca.db'));
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
