/** Row C14: an account whose organisation must be looked up. Whatever goes wrong there, it is in none. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { AccessKey } from '../../kit/aws/directory.ts';
import { startOrganizations } from '../../kit/aws/organizations.ts';
import {
  ACCOUNT,
  type AwsWorld,
  attestAws,
  iamEvidence,
  OTHER_ACCOUNT,
  startAwsWorld,
} from '../../kit/aws/world.ts';
import type { Answer, Served, Spoilt } from '../../kit/http/served.ts';
import { refusal } from '../../kit/refusal.ts';

const MANAGEMENT = '111122223333';
const SUSPENDED = '444455556666';
const ID = 'o-abc1234567';

let world: AwsWorld;
let organizations: Served;
let web: AccessKey;
beforeAll(async () => {
  world = await startAwsWorld();
  const { directory, clock } = world;
  const now = () => clock.now();
  directory.account(MANAGEMENT);
  directory.account(SUSPENDED, { organization: { id: ID, path: ['r-ab12'] } });
  organizations = await startOrganizations({
    directory,
    management: MANAGEMENT,
    states: { [SUSPENDED]: 'SUSPENDED' },
    now,
  });
  web = world.role();
});
beforeEach(() =>
  ownCredentials(world.directory.assumeRole(world.directory.account(MANAGEMENT), 'chancery-ca')),
);
afterEach(() => {
  organizations.spoil(undefined);
  vi.unstubAllEnvs();
});
afterAll(async () => {
  await organizations.close();
  await world.close();
});

/** The CA's, where AWS's SDK finds them. */
function ownCredentials({ accessKeyId, secretAccessKey, sessionToken }: AccessKey): void {
  vi.stubEnv('AWS_ACCESS_KEY_ID', accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', secretAccessKey);
  vi.stubEnv('AWS_SESSION_TOKEN', sessionToken);
}

const attest = (organization: object = {}, key = web) => {
  const config = {
    accounts: [ACCOUNT, OTHER_ACCOUNT, SUSPENDED],
    organization: { id: ID, endpoint: organizations.url, ...organization },
  };
  return attestAws(world, world.iam(config), iamEvidence(world, key));
};

test('a member is asked for once, and its organisation is an attribute', async () => {
  const before = organizations.received.length;
  const { attributes } = await attest();
  expect(attributes).toMatchObject({ organization: ID });
  expect(attributes).not.toHaveProperty('organizationPath');
  expect(organizations.received.length - before).toBe(1);
});

test.each(['ou-ab12-11111111', 'ou-ab12-22222222'])('a member below %s, at whatever depth', async (unit) => {
  const { attributes } = await attest({ units: [unit, 'ou-ab12-99999999'] });
  expect(attributes['organizationPath']).toBe(`${ID}/r-ab12/ou-ab12-11111111/ou-ab12-22222222/`);
});

describe('refused', () => {
  const json = (value: object): Answer => ({ status: 200, body: JSON.stringify(value) });
  const account = (changes: object) => () =>
    json({
      Account: {
        Arn: `arn:aws:organizations::${MANAGEMENT}:account/${ID}/${ACCOUNT}`,
        State: 'ACTIVE',
        ...changes,
      },
    });

  test('the answer that the rows below spoil is accepted', async () => {
    organizations.spoil(account({}));
    await attest();
  });

  const answers: { name: string; spoil: Spoilt; says: RegExp }[] = [
    {
      name: 'no answer',
      spoil: 'hang',
      says: /could not be asked about account 123456789012: .*no whole answer/,
    },
    { name: 'a byte now and then', spoil: 'drip', says: /could not be asked.*no whole answer/ },
    { name: 'half an answer', spoil: 'cut', says: /could not be asked/ },
    { name: '500', spoil: () => ({ status: 500 }), says: /answered DescribeAccount with 500/ },
    {
      name: 'throttling',
      spoil: () => ({ ...json({ __type: 'TooManyRequestsException' }), status: 400 }),
      says: /with 400/,
    },
    {
      name: 'a redirect',
      spoil: () => ({ status: 302, headers: { location: 'http://127.0.0.1:1' } }),
      says: /with 302/,
    },
    {
      name: '10 MB',
      spoil: () => ({ status: 200, body: Buffer.alloc(10 << 20, ' ') }),
      says: /longer than 65536/,
    },
    { name: 'no JSON', spoil: () => ({ status: 200, body: '<html>' }), says: /a value is expected/ },
    {
      name: 'the account twice',
      spoil: () => ({ status: 200, body: '{"Account":{},"Account":{}}' }),
      says: /same key twice/,
    },
    { name: 'no account', spoil: () => json({}), says: /has no Account/ },
    {
      name: 'another account',
      spoil: account({ Arn: `arn:aws:organizations::${MANAGEMENT}:account/${ID}/999999999999` }),
      says: /^account 123456789012 is not in o-abc1234567/,
    },
    {
      name: 'another organisation',
      spoil: account({ Arn: `arn:aws:organizations::${MANAGEMENT}:account/o-zzzzzzzzzz/${ACCOUNT}` }),
      says: /^account 123456789012 is not in o-abc1234567/,
    },
    { name: 'no state', spoil: account({ State: undefined }), says: /has no State/ },
  ];
  test.each(answers)('Organizations gives $name', async ({ spoil, says }) => {
    organizations.spoil(spoil);
    await expect(attest()).rejects.toThrow(refusal('aws_organization', says));
  });

  test('an account of no organisation', async () => {
    const key = world.directory.assumeRole(world.other, 'web');
    await expect(attest({}, key)).rejects.toThrow(
      refusal('aws_organization', /answered DescribeAccount with 400/),
    );
  });

  test('an account that is suspended', async () => {
    const suspended = world.directory.find(SUSPENDED);
    const key = world.directory.assumeRole(suspended ?? world.other, 'web');
    await expect(attest({}, key)).rejects.toThrow(
      refusal('aws_organization', /^account 444455556666 is not active/),
    );
  });

  test('an account below other units', async () => {
    const units = ['ou-ab12-99999999'];
    await expect(attest({ units })).rejects.toThrow(
      refusal('aws_organization', /^account 123456789012 is below none of the units/),
    );
  });

  test.each([
    {
      name: 'two parents',
      parents: [{ Id: 'r-ab12', Type: 'ROOT' }, { Id: 'ou-ab12-11111111' }],
      says: /has one parent/,
    },
    { name: 'no parent', parents: [], says: /has one parent/ },
    {
      name: 'parents without end',
      parents: [{ Id: 'ou-ab12-11111111', Type: 'ORGANIZATIONAL_UNIT' }],
      says: /more than 6 levels/,
    },
  ])('$name', async ({ parents, says }) => {
    organizations.spoil((genuine, { headers }) =>
      headers.get('x-amz-target')?.[0]?.endsWith('ListParents') ? json({ Parents: parents }) : genuine,
    );
    const units = ['ou-ab12-11111111'];
    await expect(attest({ units })).rejects.toThrow(refusal('aws_organization', says));
  });

  test('a CA that may not ask', async () => {
    ownCredentials(world.role('chancery-ca'));
    await expect(attest()).rejects.toThrow(refusal('aws_organization', /answered DescribeAccount with 400/));
  });

  test('a CA without credentials, which AWS is not asked for', async () => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE']) vi.stubEnv(name, '/dev/null');
    const before = organizations.received.length;
    await expect(attest()).rejects.toThrow(refusal('aws_organization', /Could not load credentials/));
    expect(organizations.received.length).toBe(before);
  });
});
