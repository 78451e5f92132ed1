/** The `kubernetes` attestor's config: one cluster. */
import { duration } from '@chancery/shared/config/schema.ts';
import { z } from 'zod';

/** RFC 1123 §2.1, as Kubernetes narrows it: a label of a name. */
export const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Names of service accounts, pods and nodes: labels with dots between. */
export const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

const namespace = z.string().regex(LABEL, 'a namespace is lower-case letters, digits and dashes');
const account = z
  .string()
  .refine(
    (text) => isAccount(text),
    'a service account is written NAMESPACE/NAME, for instance agents/billing',
  );

function isAccount(text: string): boolean {
  const [home = '', name = '', ...more] = text.split('/');
  return LABEL.test(home) && SUBDOMAIN.test(name) && more.length === 0;
}

const ReviewConfig = z.strictObject({
  kubeconfig: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File with the API server and our credentials (default: those of its pod). Relative to this file.',
    ),
  context: z
    .string()
    .min(1)
    .optional()
    .describe('The context of the kubeconfig, instead of its current one.'),
  podCheck: z
    .boolean()
    .default(true)
    .describe('Whether the pod is looked up: it must be there, running, on the node that the token names.'),
  timeout: duration('10s').describe('For one whole answer of the API server.'),
});
export type ReviewConfig = z.infer<typeof ReviewConfig>;

const JwksConfig = z.strictObject({
  issuer: z
    .url({ protocol: /^https$/, error: 'an issuer is an https address' })
    .describe('`iss` of the tokens, exactly; without `file`, the keys are discovered there.'),
  file: z.string().min(1).optional().describe("File with the cluster's keys (JWKS). Relative to this file."),
  ca: z.string().min(1).optional().describe('PEM file to verify the issuer by. Relative to this file.'),
});
export type JwksConfig = z.infer<typeof JwksConfig>;

export const KubernetesConfig = z
  .strictObject({
    review: ReviewConfig.optional().describe('The API server is asked about each token (TokenReview).'),
    jwks: JwksConfig.optional().describe(
      "Tokens are verified here by the cluster's keys; the cluster is not asked.",
    ),
    audience: z
      .string()
      .min(1, 'an empty audience would be the API server’s own')
      .max(255)
      .optional()
      .describe('The audience of plain projected tokens (default: `chancery://TRUST-DOMAIN`).'),
    binding: z
      .enum(['required', 'accepted'])
      .default('accepted')
      .describe('Whether the audience must carry the binding (TokenRequest), or a plain token is accepted.'),
    namespaces: z.array(namespace).min(1).optional().describe('Those that may join (default: all).'),
    serviceAccounts: z
      .array(account)
      .min(1)
      .optional()
      .describe('Those that may join, as `NAMESPACE/NAME` (default: all).'),
    maxTokenLifetime: duration('30m').describe('A token with a longer life is refused, however old it is.'),
  })
  .refine(({ review, jwks }) => (review === undefined) !== (jwks === undefined), {
    error: 'write either review, for instance "review: {}", or jwks',
  });
export type KubernetesConfig = z.infer<typeof KubernetesConfig>;
