/** Finds the one server that a client's request is for, and the request as that server knows it. */
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, type JsonObject } from '@chancery/shared/ground/json.ts';
import type { ListMethod } from '@chancery/shared/mcp/lists.ts';
import { ownUri, partOf, serverPart, shownName } from '@chancery/shared/mcp/union-name.ts';
import type { Asked } from './link.ts';
import type { Member } from './member.ts';

export interface Target {
  readonly member: Member;
  readonly asked: Asked;
}

type Members = ReadonlyMap<string, Member>;

const BY_NAME: Readonly<Record<string, ListMethod>> = {
  'tools/call': 'tools/list',
  'prompts/get': 'prompts/list',
};
const BY_URI = new Set(['resources/read', 'resources/subscribe', 'resources/unsubscribe']);

/** Whether a request is for one server. */
export const isForOne = (method: string): boolean =>
  Object.hasOwn(BY_NAME, method) || BY_URI.has(method) || method === 'completion/complete';

/** Throws mcp_parse if no server has what the request names. */
export async function targetOf({ method, params = {} }: Asked, members: Members): Promise<Target> {
  if (method === 'completion/complete') return ofCompletion(params, members);
  const list = BY_NAME[method];
  if (list === undefined) {
    const { member, own } = byUri(params['uri'], members);
    return { member, asked: { method, params: { ...params, uri: own } } };
  }
  const { member, own } = await byName(params['name'], list, members);
  return { member, asked: { method, params: { ...params, name: own } } };
}

async function ofCompletion(params: JsonObject, members: Members): Promise<Target> {
  const { ref } = params;
  ensure(isJsonObject(ref), 'mcp_parse', 'the ref of completion/complete is not an object');
  const isPrompt = ref['type'] === 'ref/prompt';
  const { member, own } = isPrompt
    ? await byName(ref['name'], 'prompts/list', members)
    : byUri(ref['uri'], members);
  const named = { ...ref, [isPrompt ? 'name' : 'uri']: own };
  return { member, asked: { method: 'completion/complete', params: { ...params, ref: named } } };
}

interface Found {
  readonly member: Member;
  /** The server's own name or URI. */
  readonly own: string;
}

/**
 * The part before `__` is the registry's. Where the rest is cut or changed, the server's list says what it stands for.
 * A name that is not in the list goes to the server as it is, so that the gateway says why it is refused.
 */
async function byName(shown: unknown, list: ListMethod, members: Members): Promise<Found> {
  const part = typeof shown === 'string' ? partOf(shown) : undefined;
  const member = [...members.values()].find(({ server }) => serverPart(server) === part);
  if (typeof shown !== 'string' || part === undefined || member === undefined) throw unknown(shown);
  const listed = (): string | undefined => member.listed(list).own.get(shown);
  if (listed() === undefined) await member.read(list);
  const rest = shown.slice(part.length + '__'.length);
  const own = listed() ?? (isPlain(member, list, shown, rest) ? rest : undefined);
  if (own === undefined) throw unknown(shown);
  return { member, own };
}

/** Two names of a server that are shown as one are neither. */
function isPlain(member: Member, list: ListMethod, shown: string, rest: string): boolean {
  return rest !== '' && shownName(member.server, rest) === shown && !member.listed(list).twins.has(shown);
}

function byUri(shown: unknown, members: Members): Found {
  const { server, uri } = (typeof shown === 'string' ? ownUri(shown) : undefined) ?? {};
  const member = server === undefined ? undefined : members.get(server);
  if (member === undefined || uri === undefined || uri === '') throw unknown(shown);
  return { member, own: uri };
}

const unknown = (shown: unknown): IdentityError =>
  new IdentityError('mcp_parse', `no server has ${JSON.stringify(shown) ?? 'it'}: list again`);
