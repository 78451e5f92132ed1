import { describe, expect, test } from 'vitest';
import { keysIn } from './keys.ts';

const GITHUB = `ghp_${'a1'.repeat(18)}`;

describe('a key is found', () => {
  test.each<[string, Parameters<typeof keysIn>[0], readonly string[]]>([
    ['by the name of a variable', { env: { API_KEY: 'x1y2z3a4', HOME: '/root' } }, ['env.API_KEY']],
    ['by a name in camel case', { env: { githubToken: 'x1y2z3a4' } }, ['env.githubToken']],
    ['by its shape under any name', { env: { SETTINGS: `a ${GITHUB}` } }, ['env.SETTINGS']],
    ['by a password in an address', { env: { DB: 'postgres://me:hunter22@db/x' } }, ['env.DB']],
    ['in a header', { headers: { Authorization: 'Bearer abcdef' } }, ['headers.Authorization']],
    ['in an object of a client', { auth: { CLIENT_SECRET: 'x1y2z3a4' } }, ['auth.CLIENT_SECRET']],
    ['in a list', { headers: { 'x-api-key': ['x1y2z3a4'] } }, ['headers.x-api-key[0]']],
    ['as the default of a reference', { env: { TOKEN: ['$', '{T:-x1y2z3a4}'].join('') } }, ['env.TOKEN']],
    ['in an argument with a name', { args: ['-y', '--api-key=x1y2z3a4'] }, ['args[1]']],
    ['in the argument after its name', { args: ['--token', 'x1y2z3a4'] }, ['args[1]']],
    ['in an argument that is a header', { args: ['--header', 'X-Api-Key: x1y2z3a4'] }, ['args[1]']],
    ['in an argument that is a variable', { args: ['run', '-e', 'API_TOKEN=x1y2z3a4'] }, ['args[2]']],
    ['in an argument by its shape', { args: [GITHUB] }, ['args[0]']],
    ['as the password of a URL', { url: 'https://me:x1y2z3a4@mcp.example/' }, ['url (password)']],
    ['in the query of a URL', { url: 'https://mcp.example/mcp?api_key=x1y2z3a4' }, ['url ?api_key']],
    ['in the path of a URL', { url: `https://mcp.example/s/${'a1'.repeat(16)}/mcp` }, ['url (path)']],
    ['by its shape as the name', { env: { [GITHUB]: GITHUB } }, ['env.[masked: GitHub token]']],
  ])('%s', (_, entry, places) => {
    expect(keysIn(entry)).toEqual(places);
  });
});

test.each<[string, Parameters<typeof keysIn>[0]]>([
  ['a reference to the environment', { env: { API_KEY: ['$', '{API_KEY}'].join('') } }],
  ['a reference to a question', { headers: { Authorization: ['Bearer $', '{input:token}'].join('') } }],
  ['an argument with a reference', { args: ['--token', ['$', '{env:TOKEN}'].join('')] }],
  ['the place of a key', { env: { KEY_FILE: '/etc/key.pem', TOKEN_URL: 'https://id.example/token' } }],
  ['an empty value', { env: { API_KEY: '', TOKEN: ' ' } }],
  ['a switch', { env: { AUTH: 'true', SECRETS: '5' } }],
  ['a flag behind a flag', { args: ['--token', '--verbose'] }],
  [
    'other names',
    { env: { MONKEY: 'x1y2z3a4', KEYBOARD: 'de', PATH: '/usr/bin' }, args: ['-y', 'server@1.2'] },
  ],
  ['a URL', { url: 'https://mcp.example/v1/mcp?region=eu' }],
  ['what is not a text', { env: { API_KEY: 7 }, args: [1, null], url: 3 }],
])('%s is not a key', (_, entry) => {
  expect(keysIn(entry)).toEqual([]);
});
