import * as grpc from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { fetchCrls } from './fetch.ts';

const signal = new AbortController().signal;
const target = (port: number) => ({
  address: `127.0.0.1:${port}`,
  credentials: grpc.credentials.createInsecure(),
  options: {},
});

test('an older CA is said to be older, and no CA to be away', async () => {
  const server = new grpc.Server();
  const credentials = grpc.ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound))),
  );
  await expect(fetchCrls(target(port), signal)).rejects.toThrow(
    refusal('refused_by_ca', /older than this agent: upgrade the CA$/),
  );
  server.forceShutdown();
  await expect(fetchCrls(target(port), signal)).rejects.toThrow(refusal('unavailable', /does not answer/));
});
