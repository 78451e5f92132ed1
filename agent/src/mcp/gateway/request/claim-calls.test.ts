import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { toolNamed } from '@chancery/shared/policy/call.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NOW } from '../../../../../test/kit/certificates.ts';
import { ask } from '../../../../../test/kit/mcp/clients/ask.ts';
import { claim, holdCalls, openCall, serialOf } from '../../../../../test/kit/mcp/clients/open-calls.ts';
import { type FakeServer, startFakeServer } from '../../../../../test/kit/mcp/servers/server.ts';
import { gatePeer, openGate } from '../../../../../test/kit/mcp/world/open-gate.ts';
import {
  id,
  policyFor,
  STRANGER,
  startWorld,
  TRIAGE,
  type World,
} from '../../../../../test/kit/mcp/world/world.ts';
import { refusal } from '../../../../../test/kit/refusal.ts';
import { CLAIMS, writeClaims } from '../../wire/claims.ts';
import type { Peers } from '../peers/peers.ts';
import { allowsBy, claimCalls } from './claim-calls.ts';
import { Served } from './served.ts';

let server: FakeServer;
let world: World;
beforeEach(async () => {
  server = await startFakeServer();
  world = await startWorld(server.target);
});
afterEach(async () => {
  await world.close();
  await server.close();
});

const SECRET = new Uint8Array(32).fill(7);
const claiming = (options: Parameters<typeof ask>[2], caller = TRIAGE) =>
  ask(world, world.td.svid(caller), { path: CLAIMS, ...options });
const refusals = () => world.events.flatMap(({ stage, code }) => (stage === 'refused' ? [code] : []));

describe('a claim', () => {
  test('is answered for each secret, and those that name no call are on record', async () => {
    const calls = holdCalls(server);
    const [old, next] = [world.td.svid(TRIAGE), world.td.svid(TRIAGE, 7200)];
    world.links.set(serialOf(next), serialOf(old));
    const { secret, outcome } = await openCall(world, old);
    await expect.poll(() => calls.open).toBe(1);
    expect(await claim(world, next, SECRET, secret)).toEqual([false, true]);
    expect(refusals()).toEqual(['mcp_call']);
    const decided = world.events.find(({ stage }) => stage === 'decided');
    expect(world.events.at(-1)).toMatchObject({ stage: 'claimed', id: decided?.id, serial: serialOf(next) });
    calls.answerAll();
    expect(await outcome).toBe(200);
  });

  test.each<[string, Parameters<typeof ask>[2], number, string]>([
    ['that is not posted', { method: 'GET' }, 405, 'mcp_method'],
    ['of another type', { body: 'x', headers: { 'content-type': 'text/plain' } }, 415, 'mcp_media'],
    ['that cannot be read', { body: '{"secrets":["short"]}' }, 400, 'mcp_parse'],
    ['of more bytes than 256 secrets have', { body: ' '.repeat(32 * 1024 + 1) }, 413, 'mcp_size'],
    ['of more than 256 secrets', { body: writeClaims(Array(257).fill(SECRET)) }, 400, 'mcp_parse'],
  ])('%s is refused', async (_name, options, status, code) => {
    expect((await claiming(options)).status).toBe(status);
    expect(refusals()).toEqual([code]);
  });

  test('of a caller that no rule lets in is not read', async () => {
    expect((await claiming({ body: writeClaims([SECRET]) }, STRANGER)).status).toBe(403);
    expect(world.events).toMatchObject([{ stage: 'decided', allow: false, caller: STRANGER }]);
  });
});

test.each([
  ['uses the server', TRIAGE, undefined, true],
  ['has no rule', STRANGER, undefined, false],
  ['calls a tool that is allowed', TRIAGE, 'echo', true],
  ['calls a tool that is not', TRIAGE, 'other', false],
  ['has no rule, for a tool', id('agents/other'), 'echo', false],
] as const)('what allows a caller that %s', (_name, caller, tool, allowed) => {
  const peer = { ...gatePeer, id: caller };
  const what = tool === undefined ? undefined : toolNamed(tool);
  const call = { server: 'everything', recordId: undefined, session: undefined, source: undefined, what };
  const allows = allowsBy(policyFor(1, { allow: ['echo'] }), ['other', 'everything'], NOW);
  expect(allows(peer, call)).toBe(allowed);
  if (tool === undefined) expect(allows(peer, undefined)).toBe(allowed);
});

describe('a claim is judged', () => {
  const judged = async (socket: Socket, error: unknown): Promise<void> => {
    const open = await openGate();
    const claim: Peers['claim'] = () => {
      throw error;
    };
    const peers = { claim } as Partial<Peers> as Peers;
    const body = Readable.from([Buffer.from(writeClaims([SECRET]))]);
    const headers = { 'content-type': 'application/json' };
    const what = { method: 'POST', headers, rawHeaders: Object.entries(headers).flat(), complete: true };
    const req = Object.assign(body, { ...what, socket }) as unknown as IncomingMessage;
    const res = new ServerResponse(new IncomingMessage(socket));
    await claimCalls(new Served(open.gate), peers, { req, res, peer: gatePeer }).finally(() => open.close());
  };

  test('over TLS only', async () => {
    await expect(judged(new Socket(), undefined)).rejects.toThrow(
      refusal('no_peer', /^a claim without TLS$/),
    );
  });

  test('by refusals, and a failure of ours is none', async () => {
    const socket = new TLSSocket(new Socket());
    await judged(socket, new IdentityError('mcp_call', 'no such call'));
    await expect(judged(socket, new TypeError('odd'))).rejects.toThrow('odd');
  });
});
