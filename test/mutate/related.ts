/** Which tests answer for a room: those beside its code first, because they are quick, then those that lean on it. */

interface Related {
  readonly room: string;
  /** Paths that a test file's own begins with. */
  readonly near: readonly string[];
  readonly far: readonly string[];
}

/** The longest room that fits a file answers for it; the file of a folder's name belongs to the folder. */
const RELATED: readonly Related[] = [
  {
    room: 'ca/src/attestors',
    near: ['ca/src/attestors'],
    far: ['test/attacks/tpm/', 'test/attacks/issuing/nonces'],
  },
  { room: 'ca/src/attestors/kubernetes', near: ['test/attacks/kubernetes/'], far: [] },
  { room: 'ca/src/attestors/aws', near: ['ca/src/attestors/index', 'test/attacks/aws/'], far: [] },
  { room: 'ca/src/attestors/aws/iam', near: ['test/attacks/aws/iam'], far: [] },
  { room: 'ca/src/attestors/aws/web-identity', near: ['test/attacks/aws/web-identity'], far: [] },
  { room: 'ca/src/attestors/azure', near: ['test/attacks/azure/'], far: ['test/interop/azure'] },
  { room: 'ca/src/attestors/oidc', near: ['test/attacks/tokens/oidc'], far: ['test/attacks/tokens/tokens'] },
  { room: 'ca/src/attestors/gcp', near: ['test/attacks/tokens/oidc'], far: [] },
  {
    room: 'ca/src/tokens',
    near: ['ca/src/tokens'],
    far: ['test/attacks/tokens/tokens', 'test/attacks/tokens/oidc'],
  },
  { room: 'agent/src/evidence/gcp', near: ['agent/src/evidence/gcp', 'test/interop/oidc'], far: [] },
  { room: 'agent/src/evidence/oidc', near: ['agent/src/evidence/oidc', 'test/interop/oidc'], far: [] },
  { room: 'agent/src/evidence/azure', near: ['test/attacks/azure/agent'], far: [] },
  { room: 'agent/src/evidence/aws', near: ['test/interop/aws-agent'], far: [] },
  { room: 'agent/src/evidence/aws/iam', near: ['test/interop/aws-agent', 'test/attacks/aws/iam'], far: [] },
  {
    room: 'agent/src/evidence/aws/web-identity',
    near: ['test/interop/aws-agent', 'test/attacks/aws/web'],
    far: [],
  },
  {
    room: 'shared/src/aws',
    near: ['shared/src/aws', 'test/interop/aws-ours'],
    far: ['test/attacks/aws/iam'],
  },
  { room: 'ca/src/authority', near: ['ca/src/authority'], far: ['test/attacks/issuing/issuance'] },
  { room: 'ca/src/registry', near: ['ca/src/registry'], far: ['test/attacks/issuing/issuance'] },
  {
    room: 'ca/src/rpc',
    near: ['ca/src/rpc'],
    far: [
      'test/attacks/door/wire',
      'test/attacks/issuing/issuance',
      'test/attacks/issuing/renewal',
      'test/attacks/issuing/nonces',
    ],
  },
  { room: 'shared/src/rpc', near: ['shared/src/rpc'], far: ['ca/src/rpc'] },
  {
    room: 'shared/src/x509',
    near: ['shared/src/x509'],
    far: ['test/attacks/issuing/renewal', 'test/interop/x509', 'test/vectors'],
  },
  { room: 'shared/src/tpm', near: ['shared/src/tpm'], far: ['test/attacks/tpm/', 'test/interop/tpm'] },
  {
    room: 'shared/src/policy',
    near: ['shared/src/policy'],
    far: ['test/attacks/mcp/policy', 'ca/src/registry'],
  },
  { room: 'agent/src/mcp', near: ['agent/src/mcp'], far: ['test/attacks/mcp/', 'test/interop/mcp'] },
  { room: 'shared/src/revocation', near: ['shared/src/revocation'], far: ['ca/src/revocation'] },
  { room: 'ca/src/revocation', near: ['ca/src/revocation'], far: ['test/attacks/trust/revocation'] },
  { room: 'agent/src/svid', near: ['agent/src/svid', 'test/attacks/agent/'], far: ['test/e2e/rotation'] },
];

/** The tests' paths, in two goes. */
export function testsOf(file: string, all: readonly string[]): readonly (readonly string[])[] {
  const room = file.slice(0, file.lastIndexOf('/'));
  const related = RELATED.filter(
    ({ room: each }) => file.startsWith(`${each}/`) || file === `${each}.ts`,
  ).toSorted((a, b) => b.room.length - a.room.length)[0] ?? { near: [room], far: [] };
  const starting = (paths: readonly string[]) =>
    all.filter((test) => paths.some((path) => test.startsWith(path)));
  return [starting(related.near), starting(related.far)].filter((tests) => tests.length > 0);
}
