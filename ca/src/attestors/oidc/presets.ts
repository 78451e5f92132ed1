/** Well-known issuers: the meaning of their claims, and defaults that refuse what an operator must allow explicitly. */
import type { Claims } from '../../tokens/claims.ts';
import { textOf } from './rules.ts';

export interface Preset {
  readonly issuer: string;
  /** Whether a job may choose its token's audience, so that it carries the binding. */
  readonly choosesAudience: boolean;
  /**
   * Claims that name the owner of a token and are never reused. The issuer signs for all its customers, so the operator
   * must give a literal value for one of them.
   */
  readonly owners: readonly string[];
  /** Claims that look like names but are not, each with what to write instead. */
  readonly unfit: Readonly<Record<string, string>>;
  /** Rules for claims that the operator has no rule for. */
  readonly defaults: Readonly<Record<string, (value: string, claims: Claims) => string | undefined>>;
  /** Attributes by name: the claim that holds each. */
  readonly attributes: Readonly<Record<string, string>>;
  /** The claims that name the job. Together they are unique and never reused. */
  readonly node: readonly string[];
}

const INSTEAD = 'write repository_id or repository_owner_id: a name may belong to somebody else tomorrow';

/** https://docs.github.com, "OpenID Connect reference": the claims of a workflow job's token. */
const github: Preset = {
  issuer: 'https://token.actions.githubusercontent.com',
  choosesAudience: true,
  owners: ['repository_id', 'repository_owner_id'],
  unfit: { sub: INSTEAD },
  defaults: {
    // The author of a pull request chooses what such a job runs.
    event_name: (value) =>
      value.startsWith('pull_request') ? 'a pull request’s job is not allowed' : undefined,
    job_workflow_ref: (value, claims) =>
      value.startsWith(`${textOf(claims.find('repository'))}/`)
        ? undefined
        : 'a workflow of another repository',
  },
  attributes: {
    repository: 'repository',
    repositoryId: 'repository_id',
    repositoryOwner: 'repository_owner',
    repositoryOwnerId: 'repository_owner_id',
    ref: 'ref',
    refType: 'ref_type',
    environment: 'environment',
    jobWorkflowRef: 'job_workflow_ref',
    eventName: 'event_name',
    runId: 'run_id',
    runnerEnvironment: 'runner_environment',
  },
  node: ['repository_id', 'run_id', 'run_attempt'],
};

/** https://docs.gitlab.com, "OpenID Connect (OIDC) Authentication Using ID Tokens": the token payload. */
const gitlab: Preset = {
  issuer: 'https://gitlab.com',
  choosesAudience: false,
  owners: ['project_id', 'namespace_id'],
  unfit: { sub: 'write project_id or namespace_id: a path may belong to somebody else tomorrow' },
  defaults: {
    ref_protected: (value) => (value === 'true' ? undefined : 'the branch or tag is not protected'),
    pipeline_source: (value) =>
      value === 'merge_request_event' ? 'a merge request’s job is not allowed' : undefined,
  },
  attributes: {
    projectId: 'project_id',
    projectPath: 'project_path',
    namespaceId: 'namespace_id',
    namespacePath: 'namespace_path',
    ref: 'ref',
    refType: 'ref_type',
    refProtected: 'ref_protected',
    environment: 'environment',
    pipelineSource: 'pipeline_source',
    pipelineId: 'pipeline_id',
    jobId: 'job_id',
    userId: 'user_id',
  },
  node: ['project_id', 'job_id'],
};

export const PRESETS = { github, gitlab } as const;
