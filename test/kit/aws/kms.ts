/** A stand-in for KMS in one region. docs/attestors/stand-ins.md says which of the service's rules it keeps. */
import { createPublicKey, hash, randomUUID } from 'node:crypto';
import { faultOf } from '../http/form.ts';
import { type Answer, type Received, type Served, serve } from '../http/served.ts';
import { AwsError, jsonName } from './aws-error.ts';
import type { Directory, Principal } from './directory.ts';
import { type KmsKey, makeKmsKey, type NewKmsKey, SPECS, type Spec, signDigest } from './kms-key.ts';
import { authenticate } from './sigv4.ts';

/** What is wrong from now on. */
export interface KmsTrouble {
  /** How many more requests are refused as too many; `Infinity` for all. */
  throttled: number;
  /** How many more requests fail inside the service. */
  failing: number;
  slowMs: number;
  /** IAM actions that a policy has begun to deny. */
  readonly denied: Set<string>;
  /** Of a new key: how many requests do not see it yet. */
  unseen: number;
}

export interface Kms extends Served {
  readonly region: string;
  readonly trouble: KmsTrouble;
  /** By ARN. */
  readonly keys: ReadonlyMap<string, KmsKey>;
  /** `alias/NAME` to the ARN of its key. */
  readonly aliases: Map<string, string>;
  /** As an operator makes one. */
  make(account: string, given?: NewKmsKey): KmsKey;
}

export interface KmsOptions {
  readonly directory: Directory;
  readonly region?: string;
  readonly now?: () => Date;
}

type Input = Readonly<Record<string, unknown>>;
interface World {
  readonly region: string;
  readonly directory: Directory;
  readonly keys: Map<string, KmsKey>;
  readonly aliases: ReadonlyMap<string, string>;
  readonly unseen: Map<string, number>;
  readonly trouble: KmsTrouble;
}
interface Act {
  readonly world: World;
  readonly input: Input;
  readonly principal: Principal;
  readonly operation: string;
}

const TYPE = 'application/x-amz-json-1.1';
const FORM = { methods: ['POST'], consumes: TYPE };

export async function startKms({ directory, region = 'eu-west-1', now }: KmsOptions): Promise<Kms> {
  const clock = now ?? (() => new Date());
  const trouble: KmsTrouble = { throttled: 0, failing: 0, slowMs: 0, denied: new Set(), unseen: 0 };
  const aliases = new Map<string, string>();
  const keys = new Map<string, KmsKey>();
  const world: World = { region, directory, keys, aliases, unseen: new Map(), trouble };
  const served = await serve(
    async (received) => {
      if (trouble.slowMs > 0) await new Promise((resolve) => setTimeout(resolve, trouble.slowMs));
      try {
        return answer(200, run(received, world, clock()));
      } catch (error) {
        if (!(error instanceof AwsError)) throw error;
        return answer(error.status, { __type: jsonName(error.code), message: error.message });
      }
    },
    { now: clock },
  );
  return {
    ...served,
    region,
    trouble,
    keys,
    aliases,
    make(account, given = {}) {
      const found = directory.find(account);
      if (found === undefined) throw new Error(`no account ${account}`);
      const key = makeKmsKey(found, region, given);
      keys.set(key.arn, key);
      return key;
    },
  };
}

/** By operation: its members (KMS API Reference), and what it does. */
const OPERATIONS: Readonly<Record<string, { members: readonly string[]; run(act: Act): object }>> = {
  CreateKey: {
    members: ['KeySpec', 'KeyUsage', 'Origin', 'Description', 'Tags', 'MultiRegion', 'Policy'],
    run: createKey,
  },
  DescribeKey: { members: ['KeyId', 'GrantTokens'], run: (act) => ({ KeyMetadata: about(allowed(act)) }) },
  GetPublicKey: { members: ['KeyId', 'GrantTokens'], run: getPublicKey },
  Sign: {
    members: ['KeyId', 'Message', 'MessageType', 'SigningAlgorithm', 'GrantTokens', 'DryRun'],
    run: sign,
  },
  ScheduleKeyDeletion: { members: ['KeyId', 'PendingWindowInDays'], run: scheduleDeletion },
};

function run(received: Received, world: World, now: Date): object {
  if (faultOf(received, FORM) !== undefined) throw new AwsError(400, 'UnknownOperationException', '');
  const scope = { service: 'kms', region: world.region };
  const { principal } = authenticate(received, world.directory, scope, now);
  const { trouble } = world;
  if (trouble.throttled > 0) {
    trouble.throttled -= 1;
    throw new AwsError(400, 'ThrottlingException', 'You have exceeded the rate at which you may call KMS.');
  }
  if (trouble.failing > 0) {
    trouble.failing -= 1;
    throw new AwsError(500, 'KMSInternalException', 'An internal error occurred. Try again later.');
  }
  const [target = ''] = received.headers.get('x-amz-target') ?? [];
  const [service, name = ''] = target.split('.');
  const operation = service === 'TrentService' ? OPERATIONS[name] : undefined;
  if (operation === undefined) throw new AwsError(400, 'UnknownOperationException', '');
  const input = JSON.parse(received.body.toString()) as Input;
  const strange = Object.keys(input).find((each) => !operation.members.includes(each));
  if (strange !== undefined) throw new AwsError(400, 'SerializationException', strange);
  return operation.run({ world, input, principal, operation: name });
}

const text = ({ input }: Act, name: string): string => (typeof input[name] === 'string' ? input[name] : '');
const invalid = (message: string): AwsError => new AwsError(400, 'ValidationException', message);

function mustBeAllowed({ world, principal, operation }: Act, resource: string, action = operation): void {
  const name = `kms:${action}`;
  if (!principal.denied.includes(name) && !world.trouble.denied.has(name)) return;
  const says = `User: ${principal.arn} is not authorized to perform: ${name} on resource: ${resource}`;
  throw new AwsError(
    400,
    'AccessDenied',
    `${says} because no identity-based policy allows the ${name} action`,
  );
}

/** The key that is asked about, by its id, ARN or alias. */
function allowed(act: Act): KmsKey {
  const { world, principal } = act;
  const name = text(act, 'KeyId');
  if (!/^[A-Za-z0-9:/_-]{1,2048}$/.test(name)) throw invalid('KeyId is of another form');
  const [, , , region = world.region] = name.split(':');
  if (region !== world.region) throw new AwsError(400, 'NotFoundException', `Invalid arn ${region}`);
  const own = `arn:${principal.account.partition}:kms:${world.region}:${principal.account.id}:`;
  const local = name.startsWith(own) ? name.slice(own.length) : name;
  const arn = local.startsWith('alias/')
    ? world.aliases.get(local)
    : `${own}key/${local.replace(/^key\//, '')}`;
  const key = world.keys.get(arn ?? '');
  // An alias is looked up before the caller's permission can be.
  if (key === undefined && local.startsWith('alias/')) throw notFound('Alias', `${own}${local}`);
  mustBeAllowed(act, arn ?? '');
  const left = world.unseen.get(arn ?? '') ?? 0;
  if (left > 0) world.unseen.set(arn ?? '', left - 1);
  if (key === undefined || left > 0) throw notFound('Key', `'${arn}'`);
  return key;
}

const notFound = (what: string, name: string): AwsError =>
  new AwsError(400, 'NotFoundException', `${what} ${name} does not exist`);

function mustBeUsable({ arn, state }: KmsKey): void {
  if (state === 'Disabled') throw new AwsError(400, 'DisabledException', `${arn} is disabled.`);
  const says = `${arn} is ${state === 'PendingDeletion' ? 'pending deletion' : 'unavailable'}.`;
  if (state !== 'Enabled') throw new AwsError(400, 'KMSInvalidStateException', says);
}

function createKey(act: Act): object {
  const { world, input, principal } = act;
  const [spec, usage] = [text(act, 'KeySpec'), text(act, 'KeyUsage')];
  if (!Object.hasOwn(SPECS, spec)) throw invalid(`KeySpec ${spec}`);
  if (usage !== 'SIGN_VERIFY' && usage !== 'KEY_AGREEMENT')
    throw invalid(`KeyUsage ${usage} is not for ${spec}`);
  if (text(act, 'Description').length > 8192) throw invalid('Description is too long');
  const tags = tagsOf(input['Tags']);
  mustBeAllowed(act, '*');
  if (Object.keys(tags).length > 0) mustBeAllowed(act, '*', 'TagResource');
  const given = { spec: spec as Spec, usage, tags, description: text(act, 'Description') } as const;
  const key = makeKmsKey(principal.account, world.region, given);
  world.keys.set(key.arn, key);
  world.unseen.set(key.arn, world.trouble.unseen);
  return { KeyMetadata: about(key) };
}

function tagsOf(given: unknown): Record<string, string> {
  if (given === undefined) return {};
  if (!Array.isArray(given) || given.length > 50) throw new AwsError(400, 'TagException', 'Tags');
  const pairs = (given as readonly Input[]).map(({ TagKey, TagValue }) => [String(TagKey), String(TagValue)]);
  const good = pairs.every(
    ([key = '', value = '']) => /^[\w .:/=+@-]{1,128}$/.test(key) && /^[\w .:/=+@-]{0,256}$/.test(value),
  );
  if (!good) throw new AwsError(400, 'TagException', 'a key or value of a tag');
  return Object.fromEntries(pairs);
}

const about = (key: KmsKey) => ({
  AWSAccountId: key.arn.split(':')[4],
  Arn: key.arn,
  CreationDate: key.createdAt.getTime() / 1000,
  CustomerMasterKeySpec: key.spec,
  Description: key.description,
  Enabled: key.state === 'Enabled',
  KeyId: key.id,
  KeyManager: 'CUSTOMER',
  KeySpec: key.spec,
  KeyState: key.state,
  KeyUsage: key.usage,
  MultiRegion: false,
  Origin: key.origin,
  SigningAlgorithms: key.usage === 'SIGN_VERIFY' ? [SPECS[key.spec].signing] : undefined,
});

function getPublicKey(act: Act): object {
  const key = allowed(act);
  mustBeUsable(key);
  const der = createPublicKey(key.privateKey).export({ type: 'spki', format: 'der' });
  const { Arn, CustomerMasterKeySpec, KeySpec, KeyUsage, SigningAlgorithms } = about(key);
  const names = { CustomerMasterKeySpec, KeySpec, KeyUsage, SigningAlgorithms };
  return { KeyId: Arn, PublicKey: der.toString('base64'), ...names };
}

function sign(act: Act): object {
  const [message, algorithm] = [Buffer.from(text(act, 'Message'), 'base64'), text(act, 'SigningAlgorithm')];
  const type = act.input['MessageType'] ?? 'RAW';
  if (message.length < 1 || message.length > 4096) throw invalid('Message has from 1 to 4096 bytes');
  if (type !== 'RAW' && type !== 'DIGEST') throw invalid(`MessageType ${String(type)}`);
  if (!/^(ECDSA_SHA_(256|384|512)|RSASSA_.*)$/.test(algorithm))
    throw invalid(`SigningAlgorithm ${algorithm}`);
  const key = allowed(act);
  mustBeUsable(key);
  const { signing, digestBytes } = SPECS[key.spec];
  if (key.usage !== 'SIGN_VERIFY')
    throw usage(`${key.arn} key usage is ${key.usage} which is not valid for Sign.`);
  if (algorithm !== signing) throw usage(`Algorithm ${algorithm} is incompatible with key spec ${key.spec}.`);
  if (type === 'DIGEST' && message.length !== digestBytes)
    throw invalid(`Digest is invalid length for algorithm ${algorithm}.`);
  const digest = type === 'DIGEST' ? message : hash(`sha${8 * digestBytes}`, message, 'buffer');
  const signature = Buffer.from(signDigest(key, digest)).toString('base64');
  return { KeyId: key.arn, Signature: signature, SigningAlgorithm: algorithm };
}

const usage = (message: string): AwsError => new AwsError(400, 'InvalidKeyUsageException', message);

function scheduleDeletion(act: Act): object {
  const days = act.input['PendingWindowInDays'] ?? 30;
  if (!Number.isInteger(days) || Number(days) < 7 || Number(days) > 30)
    throw invalid('PendingWindowInDays has from 7 to 30 days');
  const key = allowed(act);
  if (key.state === 'PendingDeletion')
    throw new AwsError(400, 'KMSInvalidStateException', `${key.arn} is pending deletion.`);
  key.state = 'PendingDeletion';
  key.deletionDays = Number(days);
  return { KeyId: key.arn, KeyState: key.state, PendingWindowInDays: days };
}

const answer = (status: number, body: object): Answer => ({
  status,
  headers: { 'content-type': TYPE, 'x-amzn-requestid': randomUUID() },
  body: JSON.stringify(body),
});
